"""The response of a request with messages: held until they are committed."""
