"""Puts messages into the store of a dispatcher over HTTP."""
