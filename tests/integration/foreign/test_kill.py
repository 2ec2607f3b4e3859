"""kill -9 before and after each statement of a transaction: the row and the message are both there, or neither is."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sqlalchemy.engine import make_url

from tests.support.processes import ROOT

# Counts what goes to the driver, and ends the process at the statement whose number it was given: before it is sent or
# after its answer has come. COMMIT is sent by the driver's own commit().
_PROGRAM = """
import os, signal, sys
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
import ap4r

url, when, number, way = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
engine = create_engine(url, poolclass=NullPool)
sent = []

def at(moment, what):
    if moment == "before":
        sent.append(what)
    if moment == when and len(sent) == number:
        os.kill(os.getpid(), signal.SIGKILL)

event.listen(engine, "before_cursor_execute", lambda *given: at("before", given[2]))
event.listen(engine, "after_cursor_execute", lambda *given: at("after", given[2]))
do_commit = engine.dialect.do_commit

def commit(connection):
    at("before", "COMMIT")
    do_commit(connection)
    at("after", "COMMIT")

engine.dialect.do_commit = commit

class Elsewhere:
    def put(self, put):
        raise AssertionError

with Session(engine) as session, ap4r.session(Elsewhere()) as handle:
    if way == "transaction":
        with handle.transaction(session):
            session.execute(text("INSERT INTO orders VALUES (1)"))
            handle.async_to("/mail")
    else:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        with handle.join(session):
            handle.async_to("/mail")
        session.commit()
print(*sent, sep="\\n---\\n")
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["transaction", "join"])
@pytest.mark.parametrize("database", ["sqlite", "mariadb", "postgresql"])
def test_killed_at_any_statement_it_is_both_or_neither(make_shop, database, way):
    """The application's INSERT, ours, COMMIT: killed before it is sent, and after it was answered."""
    shop = make_shop(database)
    sent = _run(shop, "never", 0, way)
    statements = [statement.split()[0] for statement in sent.stdout.split("\n---\n")]
    assert statements[-1] == "COMMIT" and statements.count("INSERT") >= 4, statements
    assert shop.orders == [1] and shop.deliver() == ["/mail"]
    for number in range(1, len(statements) + 1):
        for when in ("before", "after"):
            shop.clear()
            done = _run(shop, when, number, way)
            assert done.returncode == -signal.SIGKILL, done.stderr
            is_committed = (number, when) == (len(statements), "after")
            assert shop.orders == [1] * is_committed, (number, when)
            assert shop.deliver() == ["/mail"] * is_committed, (number, when)
            states = [shop.rows(table) for table in ("messages", "puts", "ready", "leased")]
            assert states == ([1, 1, 0, 1] if is_committed else [0, 0, 0, 0])


def _run(shop, when, number, way):
    url = make_url(shop.url).render_as_string(hide_password=False)
    command = [sys.executable, "-c", _PROGRAM, url, when, str(number), way]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
