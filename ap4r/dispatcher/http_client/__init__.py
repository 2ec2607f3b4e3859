"""The HTTP client that makes the calls."""
