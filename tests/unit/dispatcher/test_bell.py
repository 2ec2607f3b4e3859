"""bell: where to listen for new messages, and what is told to writers."""

from __future__ import annotations

import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from ap4r.dispatcher.bell import Bell, BellAddress, parse_bell
from ap4r.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("none", None),
        ("udp:0:interface=127.0.0.1", BellAddress(0, "127.0.0.1", "127.0.0.1")),
        ("udp:7439", BellAddress(7439, "127.0.0.1", "127.0.0.1")),
        ("udp:7439:interface=10.0.0.5", BellAddress(7439, "10.0.0.5", "10.0.0.5")),
        ("udp:7439:interface=0.0.0.0:advertise=10.0.0.5", BellAddress(7439, "0.0.0.0", "10.0.0.5")),
    ],
)
def test_addresses(text, address):
    """What is advertised is where it listens, unless another address is named."""
    assert parse_bell(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "udp",
        "udp:x",
        "udp:70000",
        "udp:-1",
        "tcp:7439",
        "udp:0:port=1",
        "udp:0:interface",
        "udp:0:interface=0.0.0.0",
    ],
)
def test_what_means_nothing_is_refused(text):
    """The error names the setting. An address that nobody can be told is none."""
    with pytest.raises(ConfigError) as caught:
        parse_bell(text)
    assert caught.value.setting == "bell"


def test_every_datagram_rings():
    """Whatever is in it."""
    rung = []
    bell = Bell(lambda: rung.append(1))
    for content in (b"ap4r", b"", b"\x00" * 60):
        bell.datagramReceived(content, ("127.0.0.1", 9))
    assert len(rung) == 3


def test_a_port_that_is_taken_is_an_error():
    """It names the setting and the address."""

    class Taken(MemoryReactorClock):
        def listenUDP(self, port, protocol, interface="", maxPacketSize=8192):
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))

    with pytest.raises(ConfigError, match=r"bell.*127\.0\.0\.1:7439.*in use"):
        Bell(lambda: None).listen(Taken(), BellAddress(7439, "127.0.0.1", "127.0.0.1"))


def test_stop_may_be_repeated():
    """Also when it never listened."""
    bell = Bell(lambda: None)
    bell.stop()
    bell.stop()
