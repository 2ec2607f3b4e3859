"""Requests that are deliveries: their signature, body, internal paths and repeats."""
