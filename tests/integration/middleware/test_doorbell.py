"""The doorbell over a real socket, from a request and from a script that ends at once."""

from __future__ import annotations

import socket
import sys

import pytest

import ap4r
from ap4r.doorbell.address import is_listening, resolve, send_datagram
from ap4r.doorbell.ringer import Doorbell
from ap4r.settings.load import load_settings
from ap4r.storage.open import open_store
from tests.support.processes import HOST, Processes
from tests.support.sink import MemorySink


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def ear(request):
    """A socket that hears bells."""
    host = HOST if request.param == socket.AF_INET else "::1"
    with socket.socket(request.param, socket.SOCK_DGRAM) as bound:
        try:
            bound.bind((host, 0))
        except OSError:
            pytest.skip("this host has no such loopback address")
        bound.settimeout(10)
        yield bound


def address_of(ear):
    """Write an ear's address as a dispatcher does."""
    host, port = ear.getsockname()[:2]
    return f"udp://[{host}]:{port}" if ":" in host else f"udp://{host}:{port}"


def test_a_bell_is_one_datagram(ear):
    """It arrives at the address that the dispatcher left."""
    send_datagram(address_of(ear))
    assert ear.recv(100) == b"ap4r"


def test_a_bell_without_a_listener_is_no_error():
    """A dispatcher that is gone costs nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind((HOST, 0))
        address = address_of(gone)
    sink = MemorySink()
    sink.addresses = [address]
    bell = Doorbell(sink, spawn=lambda look: look())
    for _ in range(3):
        bell.ring()


def test_the_first_message_of_a_process_rings(ear, tmp_path):
    """Addresses are looked up in the store beside the first request, and rung."""
    url = f"sqlite:///{tmp_path}/ap4r.db"
    store = open_store(url, load_settings(store=url))
    store.register("0123456789abcdef", "host", "0.1", address_of(ear))
    with ap4r.session(store) as handle:
        handle.async_to("/work")
    assert ear.recv(100) == b"ap4r"
    store.close()


def test_a_script_that_ends_at_once_has_rung(ear, tmp_path):
    """The interpreter waits for the bell of a cron job's only message."""
    url = f"sqlite:///{tmp_path}/ap4r.db"
    store = open_store(url, load_settings(store=url))
    store.register("0123456789abcdef", "host", "0.1", address_of(ear))
    store.close()
    script = f"import ap4r\nwith ap4r.session({url!r}) as handle: handle.async_to('/work')"
    with Processes(tmp_path) as processes:
        ended = processes.run(sys.executable, "-W", "error", "-c", script)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ear.recv(100) == b"ap4r"


class TestPaths:
    @pytest.fixture
    def ear_at(self, tmp_path):
        """A UNIX socket that hears bells."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
            bound.bind(str(tmp_path / "bell"))
            bound.settimeout(10)
            yield bound

    def test_a_bell_goes_to_a_path(self, ear_at):
        """A dispatcher on this host may listen on a UNIX socket."""
        send_datagram(f"unix:{ear_at.getsockname()}")
        assert ear_at.recv(100) == b"ap4r"

    def test_a_path_that_is_full_is_no_error(self, ear_at):
        """Where as many bells wait as there is room for, one more is not waited for."""
        for _ in range(5_000):
            send_datagram(f"unix:{ear_at.getsockname()}")

    def test_another_one_is_rung_where_one_is_gone(self, ear_at):
        """A path that leads nowhere from here, or a dispatcher that is gone, costs nothing but the next."""
        sink = MemorySink()
        sink.addresses = ["unix:/nowhere/bell", f"unix:{ear_at.getsockname()}"]
        bell = Doorbell(sink, spawn=lambda look: look(), choose=lambda left: left[0])
        bell.ring()
        assert ear_at.recv(100) == b"ap4r"


def test_a_name_is_looked_up_beside_the_request(ear):
    """A bell's address may have a host name, which is resolved where the addresses are read."""
    if ear.family == socket.AF_INET6:
        pytest.skip("localhost is 127.0.0.1 first")
    sink = MemorySink()
    sink.addresses = [f"udp://localhost:{ear.getsockname()[1]}", "udp://no.such.name.invalid:1"]
    assert resolve(sink.addresses[:1]) in ((address_of(ear),), (f"udp://[::1]:{ear.getsockname()[1]}",))
    Doorbell(sink, spawn=lambda look: look(), resolve=lambda names: resolve(names[:1])).ring()
    assert ear.recv(100) == b"ap4r"


def test_listeners_are_reported(ear, tmp_path):
    """An address with a listener is distinguished from one without."""
    assert is_listening(address_of(ear))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind((HOST, 0))
        address = address_of(gone)
    assert not is_listening(address)
    assert not is_listening(f"unix:{tmp_path}/unused")
    assert not is_listening("nonsense")
