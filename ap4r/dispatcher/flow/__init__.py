"""Flow control: how many calls at once, to whom none for a while, and who gives way to whom.

Everything here is pure: time and randomness are arguments.
"""
