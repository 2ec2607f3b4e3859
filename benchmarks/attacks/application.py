"""The attacked web application. It reads paths as loosely as some frameworks do, which ap4r does not choose.

What it did is written to files of one folder: `arrivals` (honest messages), `effects` (of webhooks that are to have one
effect each) and `breaches` (an internal action that ran without a verified delivery).
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from ap4r.errors import Ap4rError
from ap4r.middleware import AP4RMiddleware

FOLDER_VARIABLE = "ATTACKS_FOLDER"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
SENDER_SECRET = "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
ACTION = "/async/arrive"
HOOK = "/hook"

_SLASHES = re.compile("/+")


class Application:
    """Actions, by the path that is left when it is read loosely."""

    def __init__(self, folder: Path, store: Path) -> None:
        self._store = store
        self._files = {
            name: os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            for name in ("arrivals", "effects", "breaches")
        }
        self._actions = {
            "/put": self._put,
            "/contact": self._contact,
            ACTION: self._arrive,
            HOOK: self._hook,
            "/ignored": self._ignore,
        }

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "ignore").lower()
        action = self._actions.get(_SLASHES.sub("/", path).rstrip("/"))
        status = "404 Not Found" if action is None else action(environ)
        start_response(status, [("Content-Length", "0")])
        return [b""]

    def _put(self, environ: dict[str, Any]) -> str:
        number = parse_qs(environ["QUERY_STRING"])["number"][0]
        environ["ap4r"].async_to(ACTION, {"number": number}, format="json")
        return "202 Accepted"

    def _contact(self, environ: dict[str, Any]) -> str:
        """Pass on what a visitor sent, in the format that the visitor asks for."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            said = json.loads(body)
            environ["ap4r"].async_to("/ignored", said, format=parse_qs(environ["QUERY_STRING"])["format"][0])
        except (ValueError, RecursionError, Ap4rError):
            return "400 Bad Request"
        return "202 Accepted"

    def _arrive(self, environ: dict[str, Any]) -> str:
        at = time.monotonic()
        if environ["ap4r"].delivery is None:
            self._write("breaches", repr(environ["PATH_INFO"]))
            return "403 Forbidden"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self._write("arrivals", f"{json.loads(body)['number']} {at!r}")
        return "204 No Content"

    def _hook(self, environ: dict[str, Any]) -> str:
        if environ["ap4r"].delivery is None:
            return "403 Forbidden"
        connection = sqlite3.connect(self._store, timeout=20)
        try:
            with environ["ap4r"].once(connection) as delivery:
                if delivery.first:
                    self._write("effects", environ["HTTP_WEBHOOK_ID"])
        finally:
            connection.close()
        return "204 No Content"

    def _ignore(self, environ: dict[str, Any]) -> str:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return "204 No Content"

    def _write(self, name: str, line: str) -> None:
        os.write(self._files[name], f"{line}\n".encode())


def make_application() -> Any:
    """Return the application in its middleware, for a WSGI server."""
    url = os.environ["AP4R_STORE"]
    store = Path(url.removeprefix("sqlite:///"))
    return AP4RMiddleware(
        Application(Path(os.environ[FOLDER_VARIABLE]), store),
        store=url,
        secrets=[SECRET],
        senders={"billing": [SENDER_SECRET]},
        internal=["/async/*"],
        once=[HOOK],
        inbox=url,
    )
