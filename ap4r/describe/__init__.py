"""Build messages from the options that a caller gives."""
