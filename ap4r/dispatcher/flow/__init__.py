"""Flow control: the number of calls at once, targets that are held, and servers that yield to others.

Everything here is pure: time and randomness are arguments.
"""
