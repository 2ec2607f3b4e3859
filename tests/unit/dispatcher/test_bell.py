"""bell: the address to listen on, and the address that writers use."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from ap4r.dispatcher.store_worker.doorbell_listener import BellAddress, DoorbellListener, DoorbellListeners, parse_bell
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
    """The error names the setting. An address that cannot be advertised is invalid."""
    with pytest.raises(ConfigError) as caught:
        parse_bell(text)
    assert caught.value.setting == "bell"


def test_every_datagram_rings():
    """Whatever is in it."""
    rung = []
    bell = DoorbellListener(lambda: rung.append(1))
    for content in (b"ap4r", b"", b"\x00" * 60):
        bell.datagramReceived(content, ("127.0.0.1", 9))
    assert len(rung) == 3


def test_a_port_that_is_taken_is_an_error():
    """It names the setting and the address."""

    class Taken(MemoryReactorClock):
        def listenUDP(self, port, protocol, interface="", maxPacketSize=8192):
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))

    with pytest.raises(ConfigError, match=r"bell.*127\.0\.0\.1:7439.*in use"):
        DoorbellListener(lambda: None).listen(Taken(), BellAddress(7439, "127.0.0.1", "127.0.0.1"))


def test_stop_may_be_repeated():
    """Also when it never listened."""
    bell = DoorbellListener(lambda: None)
    bell.stop()
    bell.stop()


class TestPaths:
    def test_a_path(self):
        """`unix:/path` is where writers of this host ring; its mode may be given."""
        assert parse_bell("unix:/run/ap4r/bell.sock") == BellAddress(path="/run/ap4r/bell.sock", mode=0o660)
        assert parse_bell("unix:/b:mode=600").mode == 0o600

    @pytest.mark.parametrize(
        "text", ["unix:", "unix:relative", "unix:/" + "x" * 200, "unix:/b:mode=9", "unix:/b:mode=", "unix:/b:x=1"]
    )
    def test_what_is_no_path_is_refused(self, text):
        """The error names the setting."""
        with pytest.raises(ConfigError, match="bell"):
            parse_bell(text)


def test_addresses_of_version_6():
    """An IPv6 address stands in brackets, in the setting and in what writers read."""
    address = parse_bell("udp:0:interface=[::1]")
    assert (address.interface, address.advertise) == ("::1", "::1")
    assert parse_bell("udp:7439:interface=0.0.0.0:advertise=jobs.example.com").advertise == "jobs.example.com"
    with pytest.raises(ConfigError, match="advertise"):
        parse_bell("udp:0:interface=[::]")


class TestAutomatic:
    """`auto`: where writers on other hosts of a store can ring."""

    class Host(MemoryReactorClock):
        """A reactor of a host with these addresses."""

        def __init__(self, *addresses):
            super().__init__()
            self.addresses = ("127.0.0.1", *addresses)
            self.udpPorts = {}

        def listenUDP(self, port, protocol, interface="", maxPacketSize=8192):
            """Listen, or fail as the system does for another host's address."""
            if interface not in self.addresses:
                raise CannotListenError(interface, port, OSError(99, "Cannot assign requested address"))
            at = (interface, 40_000 + len(self.udpPorts))
            self.udpPorts[at] = protocol

            class Port:
                """What was opened."""

                getHost = staticmethod(lambda: IPv4Address("UDP", *at))
                stopListening = staticmethod(lambda: self.udpPorts.pop(at))

            return Port()

    @staticmethod
    def _bells(*addresses):
        bells = DoorbellListeners(TestAutomatic.Host(*addresses), "auto", lambda: None)
        return bells, bells.listen()

    @pytest.mark.parametrize("local", ["", "127.0.0.1", "10.9.9.9", "fe80::1"])
    def test_on_loopback(self, local):
        """A file, a store of this host, and an address that is none of this host's have the loopback bell."""
        _, address_for = self._bells("10.0.0.5")
        assert address_for(local) == "udp://127.0.0.1:40000"

    def test_towards_a_server(self):
        """Each store's writers get the address from which it is reached; asked again, it is the same bell."""
        _, address_for = self._bells("10.0.0.5", "2001:db8::5")
        first, second = address_for("10.0.0.5"), address_for("2001:db8::5")
        assert (first, second) == ("udp://10.0.0.5:40000", "udp://[2001:db8::5]:40001")
        assert address_for("10.0.0.5") == first

    def test_a_named_bell_is_the_same_for_all(self):
        """What the setting names is listened at from the start, whatever the stores' addresses."""
        assert (
            DoorbellListeners(self.Host("10.0.0.5"), "udp:0:interface=10.0.0.5", int).listen() == "udp://10.0.0.5:40000"
        )
        assert DoorbellListeners(self.Host(), "none", int).listen() == ""

    def test_stop_closes_all(self):
        """No port stays open."""
        bells, address_for = self._bells("10.0.0.5")
        address_for("")
        address_for("10.0.0.5")
        bells.stop()
        assert not bells._reactor.udpPorts
