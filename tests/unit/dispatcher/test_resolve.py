"""resolve: a name is resolved once, every address is checked, and only those are connected to. Nothing leaves here."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.web.client import URI
from zope.interface import implementer

from ap4r.dispatcher.http_client.address_guard import AddressGuard, AddressRules, Own
from ap4r.dispatcher.http_client.connection import ConnectionFactory
from ap4r.dispatcher.http_client.endpoints import Endpoints
from ap4r.dispatcher.http_client.failures import fault_of
from ap4r.outcome.outcome import Reason

METADATA = "169.254.169.254"
DEFAULT = AddressRules()


@implementer(IHostnameResolver)
class Names:
    """A resolver with given answers, each used in turn."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    def resolveHostName(self, receiver, hostName, portNumber=0, *_, **__):
        self.asked += 1
        self.name = hostName
        receiver.resolutionBegan(None)
        for address in self.answers.pop(0) if self.answers else ():
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, portNumber))
        receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class Net(MemoryReactorClock):
    """A reactor without a network."""

    def __init__(self, *answers):
        super().__init__()
        self.nameResolver = Names(*answers)

    def installNameResolver(self, resolver):
        raise NotImplementedError


def connect(net, url, rules=DEFAULT):
    """Begin to connect; return the failure if there is one already."""
    endpoints = Endpoints(net, None, AddressGuard(Own(lambda _: False), rules))
    failures = []
    endpoint = endpoints.endpointForURI(URI.fromBytes(url.encode()))
    connecting = endpoint.connect(ConnectionFactory(lambda _: None))
    connecting.addErrback(failures.append)
    net.advance(0.5)
    return failures


def test_the_checked_address_is_connected_to():
    """Not the name: another answer of its server a moment later changes nothing."""
    net = Net(["1.1.1.1"], [METADATA])
    assert connect(net, "http://rebinding.example:8080/") == []
    assert [(host, port) for host, port, *_ in net.tcpClients] == [("1.1.1.1", 8080)]
    assert net.nameResolver.asked == 1


@pytest.mark.parametrize("host", ["name.example", "1.1.1.1", "[2606:4700::1]"])
def test_no_timer_of_twisted_ends_an_attempt(host):
    """An attempt outlasts a standstill of the process; only the deadline of the call ends it."""
    net = Net(["1.1.1.1"])
    failures = connect(net, f"http://{host}/")
    [(_, _, _, timeout, _)] = net.tcpClients
    net.advance(1_000_000.0)
    assert (timeout, failures) == (None, [])


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", ["my_service", "_a.b_.example", "r3---sn-abc.example", "ab--c.example"])
def test_names_that_cannot_be_registered_are_connected_to(name, scheme):
    """DNS and the hosts of containers have names that no registry would give; TLS begins with them too."""
    net = Net(["1.1.1.1"])
    assert connect(net, f"{scheme}://{name}:8000/") == []
    assert net.nameResolver.name == name
    [(host, port, factory, *_)] = net.tcpClients
    assert (host, port) == ("1.1.1.1", 8000)
    transport = StringTransport()
    factory.buildProtocol(None).makeConnection(transport)
    assert (name.encode() in transport.value()) is (scheme == "https"), "the server receives the name (SNI)"


def test_happy_eyeballs_stay_among_the_checked():
    """Both kinds of address are tried, and no other."""
    net = Net(["2606:4700::1", "1.1.1.1"])
    connect(net, "http://both.example/")
    assert {host for host, *_ in net.tcpClients} == {"2606:4700::1", "1.1.1.1"}


@pytest.mark.parametrize("answers", [[METADATA], ["1.1.1.1", METADATA], ["::ffff:a9fe:a9fe"], ["64:ff9b::a9fe:a9fe"]])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_to_the_metadata_is_refused(scheme, answers):
    """No connection is begun, and the reason is said."""
    net = Net(answers)
    [failure] = connect(net, f"{scheme}://name.example/")
    fault = fault_of(failure, called=False, cut=None, status=None, seconds=0.0)
    assert fault.reason is Reason.REFUSED_ADDRESS
    assert "name.example is" in fault.detail
    assert net.tcpClients == []


@pytest.mark.parametrize(
    "host", [METADATA, "2852039166", "0251.0376.0251.0376", "0xa9fea9fe", "[::ffff:169.254.169.254]", "169.254.43518"]
)
def test_an_address_that_is_refused_is_not_looked_up(host):
    """In no spelling."""
    net = Net()
    [failure] = connect(net, f"http://{host}/")
    assert fault_of(failure, called=False, cut=None, status=None, seconds=0.0).reason is Reason.REFUSED_ADDRESS
    assert (net.tcpClients, net.nameResolver.asked) == ([], 0)


def test_an_unknown_name():
    """It is another thing than a refusal: it may come."""
    [failure] = connect(Net([]), "http://unknown.example/")
    fault = fault_of(failure, called=False, cut=None, status=None, seconds=0.0)
    assert fault.reason is Reason.NAME_NOT_FOUND
    assert "unknown.example" in fault.detail


def test_an_upstream_may_be_anywhere():
    """The operator's own servers are not guarded, unless asked for."""
    net = Net()
    assert connect(net, f"http://{METADATA}:8000/", None) == []
    assert [host for host, *_ in net.tcpClients] == [METADATA]
