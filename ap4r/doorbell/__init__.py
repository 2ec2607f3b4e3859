"""Doorbells: how a writer notifies a dispatcher that something new is in the store."""
