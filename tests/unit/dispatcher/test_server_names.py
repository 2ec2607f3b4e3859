"""TLS: a server that does not prove its name is sent nothing, whatever its certificate looks like."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import IOPump, connect, makeFakeClient, makeFakeServer
from zope.interface import implementer

from ap4r.dispatcher.http_client import certificate_names, tls
from ap4r.dispatcher.http_client.endpoints import HandshakeEndpoint
from ap4r.dispatcher.http_client.proxy_tunnel import TunnelEndpoint
from ap4r.dispatcher.http_client.tls import Identity, NotTheServer, Policy
from tests.support.certificates import Authority

NAME = "pay.bank.example"
AUTHORITY = Authority()


def dns(*names: str) -> x509.SubjectAlternativeName:
    """Return alternative names that are host names."""
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def raw(der: bytes) -> x509.UnrecognizedExtension:
    """Return alternative names as these bytes."""
    return x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, der)


def address(text: str) -> x509.SubjectAlternativeName:
    """Return an alternative name that is an address."""
    return x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(text))])


def general(kind: int, value: bytes) -> x509.UnrecognizedExtension:
    """Return one alternative name of a kind (RFC 5280, 4.2.1.6), its bytes as they are."""
    entry = bytes((0x80 | kind, len(value))) + value
    return raw(bytes((0x30, len(entry))) + entry)


GOOD = {
    "its name": (NAME, dns(NAME)),
    "its name among others": (NAME, dns("other.example", "*", NAME)),
    "in capitals": (NAME, dns(NAME.upper())),
    "asked for in capitals": (NAME.upper(), dns(NAME)),
    "asked for with a last dot": (NAME + ".", dns(NAME)),
    "a wildcard for the first label": (NAME, dns("*.bank.example")),
    "a name that could not be registered": ("my_app.internal", dns("my_app.internal")),
    "a name of one label": ("localhost", dns("localhost")),
    "a name as DNS writes others than ASCII": ("xn--bcher-kva.example", dns("xn--bcher-kva.example")),
    "an address": ("192.0.2.7", address("192.0.2.7")),
    "an address of version 6": ("[2001:db8::7]", address("2001:db8::7")),
}
BAD = {
    "no alternative names": (NAME, None),
    "an empty list of them": (NAME, raw(b"\x30\x00")),
    "a list that cannot be read": (NAME, raw(b"\x30\x05\x82\x20abc")),
    "no list": (NAME, raw(b"\x04\x03abc")),
    "an address of mail only": (NAME, x509.SubjectAlternativeName([x509.RFC822Name(f"root@{NAME}")])),
    "a URL only": (NAME, x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"https://{NAME}/")])),
    "a directory name only": (NAME, x509.SubjectAlternativeName([x509.DirectoryName(x509.Name([]))])),
    "a wildcard for everything": (NAME, dns("*")),
    "a wildcard for everything, with dots": (NAME, dns("*.*.*")),
    "a wildcard for a domain at the top": ("bank.example", dns("*.example")),
    "a wildcard for two labels": (NAME, dns("*.example")),
    "a wildcard that stands for nothing": ("bank.example", dns("*.bank.example")),
    "a wildcard in the middle": (NAME, dns("pay.*.example")),
    "a wildcard at the end": (NAME, dns("pay.bank.*")),
    "a wildcard for a part of a label": (NAME, dns("p*.bank.example")),
    "another such": (NAME, dns("*y.bank.example")),
    "a third": (NAME, dns("p*y.bank.example")),
    "two wildcards": (NAME, dns("**.bank.example")),
    "a wildcard in a name of IDNA": ("xn--bcher-kva.bank.example", dns("xn--*.bank.example")),
    "another name": (NAME, dns("evil.example")),
    "a longer name": (NAME, dns(f"evil.{NAME}")),
    "a shorter name": (NAME, dns("bank.example")),
    "the end of the name": (NAME, dns(".bank.example")),
    "nothing": (NAME, general(2, b"")),
    "a zero byte behind the name": (NAME, dns(f"{NAME}\0.evil.example")),
    "a zero byte at the end": (NAME, dns(f"{NAME}\0")),
    "blanks around the name": (NAME, dns(f" {NAME} ")),
    "a line end behind the name": (NAME, dns(f"{NAME}\n")),
    "a last dot": (NAME, dns(f"{NAME}.")),
    "a name that is not ASCII": (NAME, general(2, "pay.bänk.example".encode())),
    "a letter that only looks like one": (NAME, general(2, b"p\xd0\xb0y.bank.example")),
    "an address in place of a name": (NAME, address("192.0.2.7")),
    "an address as a name": ("192.0.2.7", dns("192.0.2.7")),
    "a wildcard for a part of an address": ("192.0.2.7", dns("*.0.2.7")),
    "another address": ("192.0.2.7", address("192.0.2.8")),
    "an address of another version": ("192.0.2.7", address("::ffff:192.0.2.7")),
    "an address of five bytes": ("192.0.2.7", general(7, b"\xc0\x00\x02\x07\x07")),
    "an address written as a name for one of version 6": ("[2001:db8::7]", dns("2001:db8::7")),
    "only a common name that is an address": ("192.0.2.7", None),
}  # fmt: skip


class Received(Protocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.data = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.data += data


@implementer(IStreamClientEndpoint)
class Server:
    """A server in memory, behind a proxy or not: what is wrong with it is its certificate."""

    def __init__(self, certificate: bytes, key: bytes, *, is_proxied: bool = False) -> None:
        options = CertificateOptions(
            privateKey=load_pem_private_key(key, None),
            certificate=x509.load_pem_x509_certificate(certificate),
        )
        self.received = Received()
        self.asked_for: list[bytes | None] = []
        options.getContext().set_tlsext_servername_callback(lambda one: self.asked_for.append(one.get_servername()))
        self._factory = TLSMemoryBIOFactory(options, False, Factory.forProtocol(lambda: self.received))
        self._is_proxied = is_proxied
        self.pump: IOPump | None = None

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Connect (IStreamClientEndpoint); the bytes move when the test pumps."""
        client = protocolFactory.buildProtocol(None)
        server: Any = self._factory.buildProtocol(None)
        if self._is_proxied:
            server = Proxy(server)
        self.pump = connect(server, makeFakeServer(server), client, makeFakeClient(client), greet=False)
        return succeed(client)


class Proxy(Protocol):
    """A proxy and what is behind it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._is_open = False

    def dataReceived(self, data: bytes) -> None:
        """Create the tunnel, then hand on."""
        if self._is_open:
            self._server.dataReceived(data)
        else:
            self._is_open = True
            self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")  # type: ignore[union-attr]
            self._server.makeConnection(self.transport)

    def connectionLost(self, reason: Any = None) -> None:
        """Notify the server."""
        self._server.connectionLost(reason)


class Client(Protocol):
    """Writes its request as soon as it may."""

    def connectionMade(self) -> None:
        """Write it, and close: so that nothing waits for the reactor to be written."""
        transport: Any = self.transport
        transport.write(b"POST /pay HTTP/1.1\r\nAuthorization: Bearer secret\r\n\r\n")
        transport.loseConnection()


def attempt(
    asked_for: str, names: Any, *, server_name: str = "", is_proxied: bool = False, common_name: str = NAME
) -> tuple[Server, Any]:
    """Connect to a server of a certificate that a trusted authority has signed; return it, and how that ended."""
    server = Server(*AUTHORITY.sign(common_name, names), is_proxied=is_proxied)
    creator = Policy(Identity(ca=AUTHORITY.pem, server_name=server_name)).creatorForNetloc(asked_for.encode(), 443)
    way: Any = TunnelEndpoint(server, b"there:443", b"") if is_proxied else server
    return server, run(server, HandshakeEndpoint(wrapClientTLS(creator, way), creator.check))


def run(server: Server, endpoint: HandshakeEndpoint) -> Any:
    """Connect and move all bytes; return the end."""
    ends: list[Any] = []
    endpoint.connect(Factory.forProtocol(Client)).addBoth(ends.append)
    assert server.pump is not None
    server.pump.flush()
    [end] = ends
    return end.value if isinstance(end, Failure) else end


@pytest.mark.parametrize("is_proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize("case", GOOD)
def test_a_server_that_proves_its_name_is_sent_the_request(case, is_proxied):
    """Directly and through a tunnel."""
    asked_for, names = GOOD[case]
    server, end = attempt(asked_for, names, is_proxied=is_proxied, common_name="another.example")
    assert isinstance(end, Client)
    assert server.received.data.startswith(b"POST /pay")


@pytest.mark.parametrize("is_proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize("case", BAD)
def test_a_server_that_does_not_is_sent_nothing(case, is_proxied):
    """Whatever a trusted authority has signed, and although the common name is the one that was asked for."""
    asked_for, names = BAD[case]
    common_name = asked_for.strip("[]")
    server, end = attempt(asked_for, names, is_proxied=is_proxied, common_name=common_name)
    assert isinstance(end, SSL.Error), end  # NotTheServer, or what OpenSSL says where it cannot read the names
    assert server.received.data == b""


@pytest.mark.parametrize("case", BAD)
def test_a_server_name_of_the_settings_is_checked_as_strictly(case):
    """It stands in the place of the URL's host."""
    asked_for, names = BAD[case]
    name = asked_for.strip("[]")
    server, end = attempt("10.0.0.1", names, server_name=name, common_name=name)
    assert isinstance(end, SSL.Error)
    assert server.received.data == b""


def test_the_name_is_asked_for_and_an_address_is_not():
    """RFC 6066, section 3: without the last dot, and never an address."""
    assert attempt(f"{NAME}.", dns(NAME))[0].asked_for == [NAME.encode()]
    assert attempt("10.0.0.1", dns(NAME), server_name=NAME)[0].asked_for == [NAME.encode()]
    assert attempt("192.0.2.7", address("192.0.2.7"))[0].asked_for == [None]


def test_the_error_says_whose_certificate_it_was():
    """A person sees at once which server answered."""
    _, end = attempt(NAME, dns("a.example", "b.example", "c.example", "d.example"))
    text = str(end)
    assert text == f"the server's certificate is for a.example, b.example, c.example and 1 more; expected {NAME}"
    assert "no name and no address" in str(attempt(NAME, None)[1])


@pytest.mark.parametrize("error", [RuntimeError("a defect"), TypeError(), KeyError(), RecursionError()])
def test_what_goes_wrong_in_the_check_refuses_the_server(monkeypatch, error):
    """No exception counts as consent, not even where the certificate is good."""

    def fail(*_: object) -> bool:
        raise error

    monkeypatch.setattr(tls, "is_for", fail)
    server, end = attempt(NAME, dns(NAME))
    assert isinstance(end, NotTheServer)
    assert server.received.data == b""


@pytest.mark.parametrize("case", [case for case in BAD if case != "an address of five bytes"])
def test_a_callback_of_a_library_that_lets_a_server_through_is_not_the_last_word(case):
    """Twisted's own takes several of these certificates; what is asked after the handshake does not."""
    asked_for, names = BAD[case]
    name = asked_for.strip("[]")
    server = Server(*AUTHORITY.sign(name, names))
    careless = Careless(optionsForClientTLS(name, trustRoot=Certificate.loadPEM(AUTHORITY.pem)))
    check = Policy(Identity(ca=AUTHORITY.pem)).creatorForNetloc(name.encode(), 443).check
    end = run(server, HandshakeEndpoint(wrapClientTLS(careless, server), check))
    assert isinstance(end, SSL.Error)
    assert server.received.data == b""


@implementer(IOpenSSLClientConnectionCreator)
class Careless:
    """Takes every certificate, as a library would whose callback loses an exception."""

    def __init__(self, options: Any) -> None:
        self._options = options

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Return a connection without a check (IOpenSSLClientConnectionCreator)."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(protocol)
        connection.set_verify(SSL.VERIFY_NONE, lambda *_: True)
        return connection


def test_what_the_certificate_cannot_be_read_for_is_said():
    """Also where its names are refused by what reads them."""
    assert certificate_names.say_names(b"no certificate").startswith("no name")
