"""The log: events as lines of text or JSON."""
