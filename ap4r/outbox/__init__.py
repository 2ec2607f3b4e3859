"""What a handler holds until its verdict: the handle, its pending messages, and the code that stores them.

It does not depend on an HTTP server and never imports Twisted.
"""
