"""Doorbells: how a writer tells a dispatcher that something new is in the store."""
