"""A bank whose web processes are killed in the middle of transfers: every transfer is booked, none twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

import ap4r
from ap4r.settings.settings import Settings
from ap4r.storage.inbox_record import is_mark
from ap4r.storage.open import open_store
from tests.support import bank
from tests.support.client import ask
from tests.support.probe import wait_until
from tests.support.processes import HOST
from tests.support.signed import secret_text
from tests.support.system import QUICK, System

TRANSFERS = 60


@pytest.mark.timeout(180)
def test_no_transfer_is_missing_and_none_is_booked_twice(system: System, measured: Callable[[str], None]):
    """Killed before its commit, killed behind it, or not killed: each transfer is booked once, to the cent."""
    folder = system.processes.folder
    path, deaths = folder / "bank.db", folder / "deaths"
    deaths.mkdir()
    store = open_store(f"sqlite:///{path}", Settings(store=f"sqlite:///{path}"))
    store.migrate()
    store.close()
    bank.make_tables(path)
    environ = {"AP4R_SECRETS": secret_text(1)}
    web = system.processes.gunicorn(
        "tests.support.bank:make_application()",
        system.web_port,
        # Preloaded, so that in the place of each that dies another one works at once.
        *("--workers=2", "--worker-class=gthread", "--threads=2", "--preload"),
        BANK_FILE=str(path),
        BANK_DEATHS=str(deaths),
        **environ,
    )
    wait_until(
        lambda: not web.running or ask(system.web_port, "/alive", timeout_seconds=5).status == 204,
        "the bank answers",
        timeout_seconds=20,
        otherwise=lambda: web.tail,
    )
    dispatcher = system.dispatcher(
        app_url=f"http://{HOST}:{system.web_port}", AP4R_CONCURRENCY="4", AP4R_MAX_DELIVERIES="100", **environ, **QUICK
    )
    with ap4r.session(system.url, max_request_bytes=10**7) as handle:
        for number in range(TRANSFERS):
            handle.async_to("/async/book", {"number": number, "cents": 100 + number})
    system.wait_until_empty(timeout_seconds=120)
    assert dispatcher.running, dispatcher.tail
    assert system.dead() == {}
    assert bank.bookings(path) == [(number, 100 + number) for number in range(TRANSFERS)]
    killed = len(list(deaths.iterdir()))
    # Two thirds, but for those whose process another one's death has taken first.
    assert TRANSFERS // 2 <= killed <= TRANSFERS * 2 // 3
    connection = sqlite3.connect(path)
    contents = [bytes(content) for (content,) in connection.execute("SELECT content FROM ap4r_inbox")]
    connection.close()
    # Of a signed message the path is marked too, in a row of its own.
    assert [sum(map(is_mark, contents)), len(contents)] == [TRANSFERS, 2 * TRANSFERS]
    measured(f"{TRANSFERS} transfers, {killed} web processes killed in the middle, every one booked once")
