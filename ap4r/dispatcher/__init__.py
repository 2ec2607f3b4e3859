"""The dispatcher: claim → limit → balance → deliver → settle, one module each, joined by one Twisted service.

Decisions are pure functions with time as an argument; the code that does I/O is thin. Nothing here imports a WSGI
toolkit.
"""
