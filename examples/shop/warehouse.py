"""The warehouse: a separate service, without ap4r, that keeps a list of what it packed.

python warehouse.py PORT LEDGER      one line of JSON an order is added to LEDGER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment


class Warehouse:
    """A plain WSGI application. `POST /pack` packs one order."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if (environ["REQUEST_METHOD"], environ["PATH_INFO"]) != ("POST", "/pack"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"POST /pack is all there is\n"]
        order = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with self._ledger.open("a", encoding="utf-8") as ledger:
            ledger.write(json.dumps({"number": order["number"], "message_id": environ["HTTP_AP4R_MESSAGE_ID"]}) + "\n")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"packed\n"]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the ledger has everything."""


def main() -> None:
    """Serve until terminated."""
    port, ledger = sys.argv[1:]
    make_server("127.0.0.1", int(port), Warehouse(Path(ledger)), handler_class=_Quiet).serve_forever()


if __name__ == "__main__":
    main()
