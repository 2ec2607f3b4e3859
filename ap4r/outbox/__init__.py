"""What a handler holds until its verdict: the handle, its outbox, and the way from there to a store.

It knows no HTTP server and never imports Twisted.
"""
