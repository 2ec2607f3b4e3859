"""kill -9 before and after each statement of a transaction: the row and the message are both there, or neither is."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sqlalchemy.engine import make_url

from tests.support.processes import ROOT

# Forks a child for each line it reads, and tells how it ended. The child counts what goes to the driver and ends itself
# at the statement whose number it was given: before it is sent, or after its answer has come. What a child needs is
# imported before it is forked: there are hundreds of them.
_PROGRAM = """
import os, signal, sys
from sqlalchemy import create_engine, event, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
import ap4r, ap4r.formats, ap4r.outbox.app_transaction, ap4r.settings.settings
import ap4r.storage.app_connection.detect, ap4r.storage.app_connection.sqlalchemy_session

class Elsewhere:
    def put(self, put):
        raise AssertionError

def work(url, way, when, number):
    engine = create_engine(url, poolclass=NullPool)
    sent = []

    def at(moment, what):
        if moment == "before":
            sent.append(what.split()[0])
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
    return sent

for line in sys.stdin:
    url, way, when, number = line.split()
    create_engine(url)  # imports the driver
    child = os.fork()
    if child == 0:
        print(*work(url, way, when, int(number)), flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Victims:
    """The process that forks those to be killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, shop, way, when="never", number=0):
        """Run one child; return what it has printed, and how it ended."""
        url = make_url(shop.url).render_as_string(hide_password=False)
        self._process.stdin.write(f"{url} {way} {when} {number}\n")
        self._process.stdin.flush()
        first = self._process.stdout.readline().strip()
        if first == str(-signal.SIGKILL):
            return [], -signal.SIGKILL
        return first.split(), int(self._process.stdout.readline())

    def end(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def victims():
    """One process for all."""
    victims = Victims()
    yield victims
    victims.end()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["transaction", "join"])
@pytest.mark.parametrize("database", ["sqlite", "mariadb", "postgresql"])
def test_killed_at_any_statement_it_is_both_or_neither(make_shop, victims, database, way):
    """The application's INSERT, ours, COMMIT: killed before it is sent, and after it was answered."""
    shop = make_shop(database)
    statements, code = victims.run(shop, way)
    assert code == 0 and statements[-1] == "COMMIT" and statements.count("INSERT") >= 4, statements
    assert shop.orders == [1] and shop.deliver() == ["/mail"]
    for number in range(1, len(statements) + 1):
        for when in ("before", "after"):
            shop.clear()
            assert victims.run(shop, way, when, number) == ([], -signal.SIGKILL)
            is_committed = (number, when) == (len(statements), "after")
            states = [shop.rows(table) for table in ("messages", "puts", "ready")]
            assert (shop.orders, states) == (([1], [1, 1, 1]) if is_committed else ([], [0, 0, 0])), (number, when)
    assert shop.deliver() == ["/mail"]
