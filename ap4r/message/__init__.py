"""Messages: what is to be called, where, and under which queue."""
