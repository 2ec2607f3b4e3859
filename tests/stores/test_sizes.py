"""Every byte arrives as it was put: large bodies, all byte values, all of Unicode, every instant of the year."""

from __future__ import annotations

import datetime
import hashlib
import os
import subprocess
import sys
import time
from urllib.parse import unquote, urlencode

import pytest

from ap4r.message.message import Put, new_id
from ap4r.message.target import Target
from ap4r.outcome.outcome import Delivered
from ap4r.settings.settings import Settings
from ap4r.storage.open import open_store
from tests.stores.echo_app import body_of_size
from tests.support.client import ask
from tests.support.databases import KINDS
from tests.support.factories import claim, dead, dispatcher, message, put, settle
from tests.support.processes import free_port
from tests.support.target import ScriptedTarget

MEBIBYTE = 1024 * 1024
#: What a body of 16 MiB needs of a server. PostgreSQL needs nothing.
ROOM = {
    "mariadb": ("--max-allowed-packet=64M", "--innodb-log-file-size=256M"),
    "postgresql": (),
    "sqlite": (),
}


@pytest.fixture(scope="module", params=["sqlite", *sorted(KINDS)])
def roomy(request, tmp_path_factory):
    """Create empty databases where a body may have 16 MiB: `roomy(name)` gives a URL."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("roomy")
        yield lambda name: f"sqlite:///{folder / name}.db"
        return
    server = KINDS[request.param](*ROOM[request.param])
    server.start()
    yield server.make
    server.remove()


@pytest.fixture(scope="module")
def large(roomy):
    """Return a store where a body may have 16 MiB."""
    url = roomy("large")
    store = open_store(url, Settings(store=url, max_body_bytes=16 * MEBIBYTE))
    yield store
    store.close()


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE, 16 * MEBIBYTE])
def test_bodies_of_every_size(large, size):
    """A body of the limit's size comes back unharmed, through every state."""
    body = body_of_size(size)
    one = message(body=body, queue=f"size.{size}")
    put(large, one, now=None)
    owner = dispatcher(large, f"owner-{size}", now=None)
    [lease] = claim(large, owner, now=None)
    assert hashlib.sha256(lease.message.body).digest() == hashlib.sha256(body).digest()
    settle(large, (lease, dead()), now=None)
    [letter] = large.dead(queue=one.queue)
    assert letter.message.body == body
    large.replay([one.id])
    [lease] = claim(large, owner, now=None)
    assert (lease.message, lease.message.body) == (one, body)
    settle(large, (lease, Delivered()), now=None)


def test_many_bodies_in_one_put(large):
    """Sixteen bodies of a mebibyte are stored together."""
    many = [message(body=bytes([number]) * MEBIBYTE, queue="many") for number in range(16)]
    put(large, *many, now=None)
    leases = claim(large, dispatcher(large, "many", now=None), 16, now=None)
    assert {lease.message.id: lease.message.body for lease in leases} == {one.id: one.body for one in many}
    settle(large, *((lease, Delivered()) for lease in leases), now=None)


def test_all_characters(store):
    """Four-byte UTF-8 in queue names, headers and targets comes back, and keeps queues apart."""
    queues = ["queue.\U0001f426", "queue.\U0001f427", "queue.漢字", "queue.i\u0307", "queue.\U0010fffd"]
    headers = (("X-Name", "\U0001f426 ünï \x7f \\ ' \" % %s :name"), ("X-Empty", ""))
    made = [message(queue, headers=headers, url="/a?b=%F0%9F%90%A6&c=1%25") for queue in queues]
    put(store, *made)
    leases = claim(store, dispatcher(store))
    assert {lease.message.id: lease.message for lease in leases} == {one.id: one for one in made}
    assert {lease.message.target for lease in leases} == {Target("/a?b=%F0%9F%90%A6&c=1%25", "app")}
    for lease in leases:
        settle(store, (lease, dead()))
    assert [letter.message.queue for letter in store.dead(queue=queues[0])] == [queues[0]]


class Post:
    """A web server that sends bodies, a dispatcher, and the target they arrive at."""

    def __init__(self, processes, target, url, **environ):
        self._port, self._target = free_port(), target
        environ["AP4R_STORE"] = url
        application = "tests.stores.echo_app:application"
        processes.gunicorn(application, self._port, "--worker-class=gthread", "--threads=4", **environ)
        processes.twistd_ap4r("--app-url", target.door(), "--listen", "none", **environ)

    def send(self, **query):
        """Request that a body be sent."""
        return ask(self._port, f"/send?{urlencode(query)}", method="POST", body=b"")

    def arrived(self, asked):
        """Wait until an accepted body has arrived."""
        assert asked.status == 200, asked
        [request] = self._target.wait_for(1, message=asked.body.decode(), timeout_seconds=60.0)
        return request


@pytest.mark.timeout(180)
def test_the_whole_way_of_large_bodies(roomy, processes):
    """From a request through the database to the handler: 16 MiB arrive byte for byte where the limit is raised."""
    with ScriptedTarget() as target:
        post = Post(processes, target, roomy("whole"), AP4R_MAX_BODY_BYTES=str(16 * MEBIBYTE))
        for size in (0, 256, MEBIBYTE, 16 * MEBIBYTE):
            request = post.arrived(post.send(size=size))
            assert hashlib.sha256(request.body).digest() == hashlib.sha256(body_of_size(size)).digest()
        refused = post.send(size=16 * MEBIBYTE + 1)
        assert refused.status == 413 and b"max_body_bytes" in refused.body


@pytest.mark.timeout(180)
def test_the_whole_way_by_default(roomy, processes):
    """A body of more than 1 MiB is refused in the request itself, names and values of all Unicode arrive unharmed,
    and what is due in an hour that comes twice arrives at its instant."""
    change = time.time() + 5.0
    with ScriptedTarget() as target:
        post = Post(processes, target, roomy("usual"), TZ=zone_that_changes(change))
        refused = post.send(size=16 * MEBIBYTE)
        assert refused.status == 413 and b"max_body_bytes" in refused.body and b"1,048,576" in refused.body
        assert post.send(size=MEBIBYTE + 1).status == 413
        assert post.arrived(post.send(size=MEBIBYTE)).body == body_of_size(MEBIBYTE)
        queue, header = "queue.\U0001f426.漢字", "\U0001f427 ünï \\ ' \" % %s :name"
        request = post.arrived(post.send(queue=queue, header=header))
        assert unquote(request.headers["ap4r-queue"]) == queue
        assert request.headers["x-name"].encode("latin-1").decode() == header
        wall = time.time() - time.monotonic()
        sent = [(at, post.send(at=at)) for at in (change - 0.5, change + 0.5, change + 1.5)]
        for at, asked in sent:
            late = wall + post.arrived(asked).at - at
            assert -0.01 <= late < 30.0, f"{late:.3f} s late"


def zone_that_changes(at):
    """Return a time zone (POSIX.1-2017, 8.3, TZ) that goes from summer to winter at an instant: an hour comes twice."""
    end = datetime.datetime.fromtimestamp(int(at), datetime.UTC) + datetime.timedelta(hours=1)
    day = end.timetuple().tm_yday - 1
    return f"WIN0SUM-1,{(day + 180) % 365},{day}/{end:%H:%M:%S}"


def test_the_zone_changes():
    """What the test calls an hour that comes twice is one."""
    at = 1_790_000_000.0
    local = "import time, sys; print(*[time.localtime(float(at)).tm_hour for at in sys.argv[1:]])"
    told = subprocess.run(
        [sys.executable, "-c", local, str(at - 1), str(at + 1)],
        env={**os.environ, "TZ": zone_that_changes(at)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, told.stdout.split())
    assert (before - after) % 24 == 1


def instants():
    """Return instants around the changes of daylight saving time, and at other odd places."""
    change = datetime.datetime(2026, 10, 25, 1, 0, tzinfo=datetime.UTC).timestamp()
    spring = datetime.datetime(2026, 3, 29, 1, 0, tzinfo=datetime.UTC).timestamp()
    odd = [0.000001, 2**31 - 0.5, 2**32 + 0.25]
    return [at + step for at in (change, spring) for step in (-3600.0, -0.000001, 0.0, 1800.5, 3600.0)] + odd


@pytest.mark.parametrize("at", instants())
def test_instants_around_daylight_saving(store, at):
    """A message that is due at an instant is claimed then and not a microsecond before, whatever the clocks show."""
    put(store, message(deliver_at=at), now=max(0.0, at - 7200.0))
    owner = dispatcher(store, now=at)
    assert claim(store, owner, now=at - 0.00001) == []
    assert len(claim(store, owner, now=at)) == 1


def test_the_clock_has_no_time_zone(server, url, opened, kind):
    """The store's clock is the same whatever zone the server is in, also in an hour that comes twice."""
    server.set_zone("Europe/Berlin" if kind == "postgresql" else "+05:45")
    try:
        store = opened(url)
        store.put(Put(new_id(), (message(deliver_at=time.time() + 60.0),)))
        store.register("one", "one", "1", "")
        found = store.claim("one", 10)
        assert found.leases == ()
        assert found.next_due_in_seconds is not None and 0.0 <= found.next_due_in_seconds <= 60.5
    finally:
        server.set_zone(None)
