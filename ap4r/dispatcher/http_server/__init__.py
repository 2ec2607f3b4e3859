"""The listen address: routes, admission, health page and intake."""
