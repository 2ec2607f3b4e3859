"""Paths of targets that are given by the name of a route."""
