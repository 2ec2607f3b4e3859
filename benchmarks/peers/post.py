"""The webhook as a blocking task makes it: requests, with a session a thread, so that connections are kept."""

from __future__ import annotations

import threading

import requests

_own = threading.local()


def post(url: str, number: int) -> None:
    """Deliver one; raises when the answer is no success."""
    session = getattr(_own, "session", None)
    if session is None:
        session = _own.session = requests.Session()
    session.post(url, data={"id": f"{number:012d}"}, timeout=150).raise_for_status()
