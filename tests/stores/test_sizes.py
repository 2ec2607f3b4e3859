"""Every byte arrives as it was put: large bodies, all byte values, all of Unicode, every instant of the year."""

from __future__ import annotations

import datetime
import hashlib
import time

import pytest

from ap4r.message import Put, new_id
from ap4r.outcome import Delivered
from ap4r.settings import Settings
from ap4r.storage.open import open_store
from ap4r.target import Target
from tests.support.databases import KINDS
from tests.support.factories import claim, dead, dispatcher, message, put, settle

MEBIBYTE = 1024 * 1024
#: What a body of 16 MiB needs of a server. PostgreSQL needs nothing.
ROOM = {
    "mariadb": ("--max-allowed-packet=64M", "--innodb-log-file-size=256M"),
    "postgresql": (),
    "sqlite": (),
}


@pytest.fixture(scope="module", params=["sqlite", *sorted(KINDS)])
def large(request, tmp_path_factory):
    """Give a store where a body may have 16 MiB."""
    if request.param == "sqlite":
        url, server = f"sqlite:///{tmp_path_factory.mktemp('large') / 'store.db'}", None
    else:
        server = KINDS[request.param](*ROOM[request.param])
        server.start()
        url = server.make("large")
    store = open_store(url, Settings(store=url, max_body_bytes=16 * MEBIBYTE))
    yield store
    store.close()
    if server is not None:
        server.remove()


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE, 16 * MEBIBYTE])
def test_bodies_of_every_size(large, size):
    """A body of the limit's size comes back unharmed, through every state."""
    # All byte values, with those that are escaped on the way in long runs.
    pattern = bytes(range(256)) + b"\x00" * 999 + b"'\"\\" * 333 + b"\xff" * 999
    body = (pattern * (size // len(pattern) + 1))[:size]
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


def instants():
    """Give instants around the changes of daylight saving time, and at other odd places."""
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
        store.put(Put(new_id(), (message(deliver_at=time.time() + 1.0),)))
        store.register("one", "one", "1", "")
        found = store.claim("one", 10)
        assert found.leases == ()
        assert found.next_due_in_seconds is not None and 0.0 <= found.next_due_in_seconds <= 1.5
    finally:
        server.set_zone(None)
