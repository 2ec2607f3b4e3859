"""One delivery, from a claimed message to its outcome."""
