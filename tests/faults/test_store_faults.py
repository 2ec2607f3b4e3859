"""A store that is damaged, read-only, full, misnamed or deleted: a clear message, nothing lost, and work goes on.

A process that cannot store answers 503 or ends with an exit code; one that runs recovers when the cause is gone.
"""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import storefile
from tests.support.client import Asked, ask
from tests.support.disk import Disk, mounted
from tests.support.ledger import compare, read_ledger
from tests.support.load import Wish
from tests.support.probe import hold_for, wait_until
from tests.support.processes import Process, Processes
from tests.support.system import System
from tests.support.target import ScriptedTarget

pytestmark = pytest.mark.timeout(90)

#: With this the file is no database any more; it is longer than the header that tells one.
DAMAGE = b"this was a store once\n" * 4_096
RECOVERS_SECONDS = 25.0
OUTAGE_SECONDS = 20.0  #: longer than the 15 s of silence after which a dispatcher is considered dead


class Shop:
    """A web process whose answers are written down."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._clients = system.ledger_file("clients")
        self.process = system.web()
        self._name = f"shop-{self.process.pid}"
        self._number = 0

    def buy(self, **wish: object) -> Asked:
        """Send one request with a message."""
        self._number += 1
        made = Wish(f"{self._name}-{self._number}", **wish)  # type: ignore[arg-type]
        asked = ask(self._system.web_port, made.path)
        self._clients.write("client", request=made.name, status=asked.status, whole=asked.whole)
        return asked

    def buy_until_stored(self, timeout_seconds: float = RECOVERS_SECONDS) -> None:
        """Send requests until one is answered with a success."""
        wait_until(
            lambda: self.buy().status == 200,
            "the web process stores messages again",
            timeout_seconds=timeout_seconds,
            every_seconds=0.2,
            otherwise=lambda: self.process.tail,
        )


@pytest.fixture
def told(processes: Processes) -> Iterator[System]:
    """A system whose target also writes to the ledger."""
    system = System(processes, ScriptedTarget())
    system.target = ScriptedTarget(system.ledger_file("target"))
    with system.target:
        yield system


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 8 MiB."""
    with mounted(tmp_path / "disk", 8) as small:
        yield small


def _assert_ledger(system: System) -> None:
    """Hold the ledger: all that was acknowledged has arrived once, and nothing else."""
    wait_until(
        lambda: not compare(read_ledger(system.ledger)).lost,
        "everything acknowledged has arrived",
        timeout_seconds=RECOVERS_SECONDS,
        otherwise=lambda: str(compare(read_ledger(system.ledger))),
    )
    found = compare(read_ledger(system.ledger))
    assert not found.unexpected and not found.false_successes and not found.repeated, str(found)


def _assert_refused(system: System, shop: Shop, said: str) -> None:
    """Hold that a put is answered 503, and that the log says what is wrong with which store."""
    asked = shop.buy()
    assert (asked.status, asked.whole) == (503, True), asked
    assert str(system.store) not in asked.body.decode(), "the answer tells where the store is"
    shop.process.wait_for_output(said, 5)
    assert system.url in shop.process.output


def _assert_ends_or_waits(system: System, dispatcher: Process, said: str) -> bool:
    """Hold that a dispatcher says what is wrong with which store; returns whether it waits for better times."""
    dispatcher.wait_for_output(said)
    assert system.url in dispatcher.output
    # One that waits says so; one that gives up ends.
    wait_until(
        lambda: not dispatcher.running or "next attempt in" in dispatcher.output, "it has decided", timeout_seconds=20
    )
    if dispatcher.running:
        return True
    assert dispatcher.wait() not in (0, None)
    assert "Traceback" not in dispatcher.output, dispatcher.tail
    return False


def test_damaged_from_the_start(told: System):
    """A file that is no database is reported and not changed, and a good one is used at once."""
    told.store.write_bytes(DAMAGE)
    shop = Shop(told)
    _assert_refused(told, shop, "not a SQLite database")
    waits = _assert_ends_or_waits(told, told.dispatcher(wait=False), "not a SQLite database")
    ended = told.processes.ap4r("status", "--store", told.url)
    assert (ended.returncode, told.url in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)
    assert told.store.read_bytes() == DAMAGE, "a file that is not ours was written to"
    told.store.unlink()
    shop.buy_until_stored()
    if not waits:
        told.dispatcher(name="again")
    _assert_ledger(told)


def test_damaged_under_running_processes(told: System):
    """Both sides say that the file is damaged and go on by themselves when a good one has been put back."""
    shop, dispatcher = Shop(told), told.dispatcher()
    shop.buy_until_stored()
    told.wait_until_empty()
    good = told.store.with_suffix(".good")
    _take_away(told.store, good)
    told.store.write_bytes(DAMAGE)
    _assert_refused(told, shop, "not a SQLite database")
    dispatcher.wait_for_output("not a SQLite database")
    assert dispatcher.running
    told.store.unlink()
    _take_away(good, told.store)
    shop.buy_until_stored()
    _assert_ledger(told)
    assert dispatcher.running


def _take_away(source: Path, destination: Path) -> None:
    for end in ("", "-wal", "-shm"):
        file = source.with_name(source.name + end)
        if file.exists():
            file.rename(destination.with_name(destination.name + end))


def test_read_only(told: System, disk: Disk):
    """Puts are answered 503 while the disk is read-only; made writable, it is used again, with all that it held."""
    told.store = disk.folder / "ap4r.db"
    first = Shop(told)
    assert [first.buy().status for _ in range(3)] == [200] * 3
    first.process.send(signal.SIGTERM)
    first.process.wait()
    disk.make_read_only()
    shop = Shop(told)
    _assert_refused(told, shop, "read-only")
    waits = _assert_ends_or_waits(told, told.dispatcher(wait=False), "read-only")
    disk.make_writable()
    shop.buy_until_stored()
    if not waits:
        told.dispatcher(name="again")
    _assert_ledger(told)


def test_full_disk(told: System, disk: Disk):
    """While the disk is full puts are answered 503 and outcomes are kept; freed, all is settled, nothing repeated."""
    told.store = disk.folder / "ap4r.db"
    shop, dispatcher = Shop(told), told.dispatcher()
    assert shop.buy(answer="hold:gate").status == 200
    told.target.wait_for(1)
    disk.fill()
    answers = Counter(shop.buy(size=200_000).status for _ in range(6))
    assert set(answers) <= {200, 503} and answers[503] >= 3, answers
    shop.process.wait_for_output("disk is full", 5)
    told.target.open("gate")
    dispatcher.wait_for_output("disk is full")
    hold_for(2.0, lambda: dispatcher.running, "the dispatcher's life")
    disk.free()
    shop.buy_until_stored()
    told.wait_until_empty()
    _assert_ledger(told)
    assert dispatcher.running


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////no/such/folder/ap4r.db", "/no/such/folder"),
        ("sqlite:///", "sqlite:///"),
        ("nonsense", "setting store"),
        ("oracle://host/base", "oracle://host/base"),
    ],
)
def test_wrong_url(told: System, url: str, said: str):
    """A URL that can be no store ends every command with an exit code and a line that names it, with no traceback."""
    dispatcher = told.processes.twistd_ap4r("--store", url, "--listen", "none")
    assert dispatcher.wait(15) not in (0, None)
    assert said in dispatcher.output and "Traceback" not in dispatcher.output, dispatcher.tail
    ended = told.processes.ap4r("status", "--store", url)
    assert ended.returncode == 2 and said in ended.stderr and "Traceback" not in ended.stderr, ended.stderr


def test_wrong_url_in_a_web_process(told: System):
    """A web process with no folder for its store answers 503 and says so, and stores as soon as the folder is there."""
    folder = told.processes.folder / "later"
    told.store = folder / "ap4r.db"
    shop = Shop(told)
    _assert_refused(told, shop, str(folder))
    folder.mkdir()
    shop.buy_until_stored()
    told.dispatcher()
    _assert_ledger(told)


def test_an_outage_makes_no_dispatcher_dead(told: System):
    """When no process can write for longer than a lease lasts, no dispatcher is considered dead, and no call repeated.

    The answers that come meanwhile are kept and settled afterwards, although reading went on all the time.
    """
    dispatchers = [told.dispatcher(name=name) for name in ("one", "two")]
    sent = [told.send("/work?answer=hold:gate")[0] for _ in range(6)]
    told.target.wait_for(len(sent))
    with storefile.locked(told.store):
        told.target.open("gate")
        hold_for(OUTAGE_SECONDS, lambda: all(dispatcher.running for dispatcher in dispatchers), "their lives")
    told.wait_until_empty()
    assert Counter(told.target.ids()) == Counter(sent), "a call was repeated although its answer had come"
    assert all(dispatcher.running for dispatcher in dispatchers)


def test_deleted_under_running_processes(told: System):
    """What is acknowledged after the file was deleted is in a new file, not in the deleted one."""
    shop, dispatcher = Shop(told), told.dispatcher()
    shop.buy_until_stored()
    told.wait_until_empty()
    for file in told.store.parent.glob("ap4r.db*"):
        file.unlink()
    shop.buy_until_stored()
    assert told.store.exists()
    _assert_ledger(told)
    assert dispatcher.running
    # Messages without a dispatcher must be found by a later one.
    dispatcher.kill()
    assert shop.buy().status == 200
    shop.process.kill()
    told.dispatcher(name="again")
    _assert_ledger(told)


def test_moved_away_and_back(told: System):
    """A file that was moved away for a while (a restore, a slip) is taken up again with all that it held."""
    shop = Shop(told)
    assert shop.buy().status == 200
    dispatcher = told.dispatcher(AP4R_CREATE_TABLES="false")
    _assert_ledger(told)
    told.wait_until_empty()
    away = told.processes.folder / "away.db"
    _take_away(told.store, away)
    dispatcher.wait_for_output("no such file", 20)
    for file in told.store.parent.glob("ap4r.db*"):
        file.unlink()
    shutil.copyfile(away, told.store)
    shop.buy_until_stored()
    _assert_ledger(told)
    assert dispatcher.running
