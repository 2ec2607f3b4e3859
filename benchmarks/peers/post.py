"""The webhook as a blocking task makes it: requests, with a session a thread, so that connections are kept."""

from __future__ import annotations

import threading

import requests
from requests.adapters import HTTPAdapter

_own = threading.local()
_shared: list[requests.Session] = []


def share(connections: int) -> None:
    """Share one session among all threads of this process, for peers that start a thread for each task."""
    _shared.append(_session(connections))


def post(url: str, number: int, body: str = "", queue: str = "") -> None:
    """Deliver one; raises when the answer is no success.

    :param body: instead of the form with the number.
    :param queue: only has to come along.
    """
    session = _shared[0] if _shared else getattr(_own, "session", None)
    if session is None:
        session = _own.session = _session(1)
    if body:
        answer = session.post(url, data=body.encode(), headers={"Content-Type": "text/plain"}, timeout=150)
    else:
        answer = session.post(url, data={"id": f"{number:012d}"}, timeout=150)
    answer.raise_for_status()


def _session(connections: int) -> requests.Session:
    session = requests.Session()
    if connections > 1:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
    return session
