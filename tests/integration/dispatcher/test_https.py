"""Targets over TLS: trusted ones are called, others are never sent a byte of the request."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support import storefile
from tests.support.probe import hold_for, wait_until
from tests.support.processes import HOST, free_port
from tests.support.storefile import Found

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_path, key_path


class TlsTarget:
    """Answers 200 to whatever comes over TLS, and keeps what came. `mute` lets a handshake never end."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.port = free_port()
        self.received: list[bytes] = []
        self.handshakes = 0
        self.mute = False
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server((HOST, self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self.handshakes += 1
        connection.settimeout(20)
        with suppress(OSError), connection:
            if self.mute:
                while connection.recv(4_096):
                    pass
                return
            with self._context.wrap_socket(connection, server_side=True) as secured:
                while data := secured.recv(65_536):
                    self.received.append(data)
                    secured.sendall(ANSWER)


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[TlsTarget]:
    """Yield a target whose certificate is for `localhost`."""
    target = TlsTarget(*make_certificate(tmp_path, "localhost"))
    yield target
    target.close()


def test_a_trusted_target_is_called(system, tls, tmp_path):
    """With its certificate among those that the system trusts; also `once`, over a connection of its own."""
    system.dispatcher(SSL_CERT_FILE=str(tmp_path / "localhost.crt"))
    url = f"https://localhost:{tls.port}/work"
    system.send(url, url)
    system.send(url, delivery="once")
    system.wait_until_empty()
    assert len(tls.received) == 3
    assert all(request.startswith(b"POST /work HTTP/1.1\r\n") for request in tls.received)


@pytest.mark.parametrize("delivery", ["repeated", "once"])
@pytest.mark.parametrize("why", ["no trusted authority", "another name"])
def test_a_target_that_is_not_trusted_is_sent_nothing(system, tls, tmp_path, why, delivery):
    """The message waits, at no cost: no call took place."""
    trusted = {"SSL_CERT_FILE": str(tmp_path / "localhost.crt")} if why == "its name is another" else {}
    host = "localhost" if why == "no trusted authority" else HOST
    dispatcher = system.dispatcher(**trusted)
    [sent] = system.send(f"https://{host}:{tls.port}/work", delivery=delivery)
    dispatcher.wait_for_output("tls failed")
    wait_until(lambda: tls.handshakes >= 2, "it is tried again")
    wait_until(lambda: storefile.look_for(system.store, sent) == Found("ready", 0, 0, 0), "the message was given back")
    assert tls.received == []


def test_a_handshake_that_never_ends_is_a_connection_that_never_came_about(system, tls):
    """The deadline of connecting covers it, and the message waits at no cost."""
    tls.mute = True
    dispatcher = system.dispatcher(AP4R_CONNECT_TIMEOUT_SECONDS="1")
    [sent] = system.send(f"https://localhost:{tls.port}/work", delivery="once")
    dispatcher.wait_for_output("connect timeout")
    wait_until(lambda: storefile.look_for(system.store, sent) == Found("ready", 0, 0, 0), "the message was given back")


def test_a_target_that_speaks_no_tls(system, target):
    """A plain server behind an https URL is sent no request."""
    dispatcher = system.dispatcher()
    port = target.door().rpartition(":")[2]
    system.send(f"https://localhost:{port}/work")
    dispatcher.wait_for_output("held")
    hold_for(0.5, lambda: target.ids() == [], "no request came")
