"""Upstreams: the choice of a server for each call."""
