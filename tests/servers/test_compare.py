"""On every server the bytes are equal with and without the middleware, and messages follow the verdict."""

from __future__ import annotations

import os
import re

import pytest

from tests.servers.compare import Difference, Result, drive, table
from tests.servers.known import KNOWN
from tests.servers.launch import SERVERS

SHORT = [name for name, server in SERVERS.items() if server.short]
#: Where they differ.
_STRICTER = {
    "gzip, chunked": "--app refuses what two servers could read differently",
    "body cut short": "--app calls the application when a request is whole",
    "replaced_start": "gunicorn sends the headers of both starts",
    "never_starts": "gunicorn answers with the status None",
    "own_server_headers": "gunicorn leaves an application's own Server out",
}


def check(name, folder):
    """Drive a server, and return its result when nothing is different but what is listed."""
    result = drive(SERVERS[name], folder)
    if result.missing:
        if os.environ.get("CI") and SERVERS[name].short:
            pytest.fail(result.missing)
        pytest.skip(result.missing)
    assert not result.new, "\n\n".join(map(str, result.new))
    gone = set(KNOWN.get(name, {})) - {(one.case, one.way) for one in result.differences}
    assert not gone, "they are listed as different, and are equal"
    return result


@pytest.mark.parametrize("name", SHORT)
def test_the_bytes_and_the_ledger(name, tmp_path):
    """Each case is the same with and without the middleware, plain and with a message."""
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in SERVERS if name not in SHORT])
def test_the_bytes_and_the_ledger_of_all(name, tmp_path):
    """The same on all servers that pip or apt brings."""
    check(name, tmp_path)


def test_the_application_is_served_as_by_gunicorn(tmp_path):
    """`--app` answers each case as gunicorn does, and shows the application the same request."""
    folders = [tmp_path / name for name in ("app", "gunicorn-gthread")]
    for folder in folders:
        folder.mkdir()
    own, other = (drive(SERVERS[folder.name], folder).answers for folder in folders)
    different = {case for case in own if _plain(own[case]) != _plain(other[case])}
    assert different == set(_STRICTER)


def _plain(answer):
    """Leave out which server it is, and, of an answer that is the server's own, its words."""
    status = answer[9:12]
    if status in (b"400", b"417") or answer[9:34] == b"500 Internal Server Error":
        return status
    return re.sub(rb"(?i)\r\nserver: (ap4r|gunicorn)(?=\r\n)", b"", answer)


def test_a_table_has_a_row_for_each_server():
    """And the differences, or why a server is missing, with it."""
    results = [
        Result("one", cases=86, seconds=2.0, differences=[Difference("starts_twice", "with a message", "a became b")]),
        Result("two", "it is not installed"),
    ]
    first, second, _, below = table(results).splitlines()
    assert re.fullmatch(r"one +86 cases, +0 differences and +1 listed, +2.0 s", first)
    assert second.endswith("it is not installed")
    assert below.startswith("one: starts_twice, with a message: listed, for a second start")
