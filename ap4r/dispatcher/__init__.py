"""The dispatcher: claim → limit → balance → deliver → settle, one module each, joined by one Twisted service.

Decisions are pure and take time as an argument; what does I/O is thin. Nothing here imports a WSGI toolkit.
"""
