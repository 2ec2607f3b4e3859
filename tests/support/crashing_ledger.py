"""The bank's ledger in a process that dies directly after its commit, before anyone has its response.

It dies after it has booked each of the first `LEDGER_DEATHS` messages. `forgetful` removes what the inbox
does: then a test of the bank must fail.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ap4r.inbox.receive import Receipt
from ap4r.middleware.deliveries import repeats as repeats
from ap4r.outbox.handle import Handle

Application = Callable[..., Iterable[bytes]]


def remembering() -> Application:
    """Return the ledger unchanged."""
    return _crashing()


def forgetful() -> Application:
    """Return a ledger that treats every delivery as the first."""

    @contextmanager
    def once(handle: Handle, conn: object = None, *, using: str | None = None) -> Iterator[Receipt]:
        with handle.transaction(conn, using=using):
            yield Receipt(True, None)

    Handle.once = once  # type: ignore[assignment,method-assign]
    repeats.Repeats.answer = lambda *_: None  # type: ignore[method-assign]
    return _crashing()


def _crashing() -> Application:
    import ledger

    deaths, most = Path("deaths"), int(os.environ["LEDGER_DEATHS"])
    deaths.mkdir(exist_ok=True)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        status = ""

        def start(told: str, *arguments: Any) -> Any:
            nonlocal status
            status = told
            return start_response(told, *arguments)

        answer = list(ledger.application(environ, start))
        if status.startswith("201") and len(os.listdir(deaths)) < most:
            place = deaths / environ["HTTP_AP4R_MESSAGE_ID"]
            if not place.exists():
                place.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return application
