"""Messages: the call to make, its target, and its queue."""
