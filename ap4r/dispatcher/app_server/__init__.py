"""The web server of `--app`."""
