"""A bank in a web server: it books each transfer once, and its process dies now and then behind a commit.

`BANK_FILE` is its SQLite file; where `BANK_DEATHS` is a folder, each transfer kills its process the first time that it
comes: before the commit, right behind it, or not at all, by its number.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from ap4r.middleware import AP4RMiddleware


def make_tables(path: Path) -> None:
    """Create the bank's own table."""
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookings (number INTEGER NOT NULL, cents INTEGER NOT NULL)")
    connection.commit()
    connection.close()


def bookings(path: Path) -> list[tuple[int, int]]:
    """Read what is booked."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.execute("SELECT number, cents FROM bookings ORDER BY number"))
    finally:
        connection.close()


def make_application() -> Callable[..., Iterable[bytes]]:
    """Return the bank, which answers repeats before its own code runs."""
    url = f"sqlite:///{os.environ['BANK_FILE']}"
    return AP4RMiddleware(_book, store=url, once=["/async/*"], bell="none")


def _book(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/alive":
        start_response("204 No Content", [])
        return []
    form = parse_qs(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode())
    number, cents = int(form["number"][0]), int(form["cents"][0])
    connection = sqlite3.connect(os.environ["BANK_FILE"])
    try:
        with environ["ap4r"].once(connection) as delivery:
            if delivery.first:
                connection.execute("INSERT INTO bookings VALUES (?, ?)", (number, cents))
                if number % 3 == 1:
                    _die_the_first_time(number)
        if number % 3 == 2:
            _die_the_first_time(number)
    finally:
        connection.close()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


def _die_the_first_time(number: int) -> None:
    try:
        (Path(os.environ["BANK_DEATHS"]) / str(number)).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
