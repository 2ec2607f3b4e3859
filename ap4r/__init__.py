"""Background jobs as ordinary HTTP requests, for every WSGI application.

The public names are in the modules; this file only has the version, so that importing `ap4r` costs nothing.
"""

from typing import Any

from ap4r.version import __version__

__all__ = ["File", "__version__", "require_delivery", "session"]


def __getattr__(name: str) -> Any:
    # `ap4r.session(store)` is what a script writes; importing it lazily keeps `import ap4r` free of SQLAlchemy.
    if name == "session":
        from ap4r.outbox.session import session

        return session
    if name == "require_delivery":
        from ap4r.outbox.required import require_delivery

        return require_delivery
    if name == "File":
        from ap4r.formats import File

        return File
    raise AttributeError(f"module 'ap4r' has no attribute {name!r}")
