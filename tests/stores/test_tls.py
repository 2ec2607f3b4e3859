"""TLS between ap4r and a database, asked for in the URL alone: verified where that is asked, and never given up."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ap4r.errors import StoreUnavailable
from tests.support.certificates import issue
from tests.support.databases import KINDS, USER, MariaDB, shared_server
from tests.support.factories import message, put

#: What asks for a verified connection, and what also for one whose name is not looked at.
VERIFIED = {"mariadb": "?ssl_ca={ca}", "postgresql": "?sslmode=verify-full&sslrootcert={ca}"}
NAMELESS = {
    "mariadb": "?ssl_ca={ca}&ssl_check_hostname=false",
    "postgresql": "?sslmode=verify-ca&sslrootcert={ca}",
}


@pytest.fixture(scope="module", params=sorted(KINDS))
def secured(request, tmp_path_factory):
    """Servers that speak TLS, one certified for 127.0.0.1 and one for another name, and the authorities' files."""
    made, authorities = [], []
    for name in ("127.0.0.1", "db.example"):
        issued = issue(tmp_path_factory.mktemp("tls"), name)
        server = KINDS[request.param]()
        made.append(server)
        authorities.append(issued.authority)
        owner = "mysql" if isinstance(server, MariaDB) else "postgres"
        certificate, key = (_given(path, server.folder, owner) for path in (issued.certificate, issued.key))
        if isinstance(server, MariaDB):
            server.options = (f"--ssl-cert={certificate}", f"--ssl-key={key}")
        else:
            server.options = ("-c", "ssl=on", "-c", f"ssl_cert_file={certificate}", "-c", f"ssl_key_file={key}")
        server.start()
    yield request.param, made, authorities
    for server in made:
        server.remove()


def _given(path: Path, folder: Path, owner: str) -> Path:
    copied = Path(shutil.copy(path, folder))
    copied.chmod(0o600)
    if os.getuid() == 0:
        shutil.chown(copied, owner)
    return copied


def encrypted(server):
    """Return whether each session of the user `ap4r` is encrypted, by the server's own word."""
    if isinstance(server, MariaDB):
        rows = server.execute(
            "SELECT s.variable_value FROM performance_schema.status_by_thread s"
            " JOIN performance_schema.threads t USING (thread_id)"
            f" WHERE s.variable_name = 'Ssl_cipher' AND t.processlist_user = '{USER}'"
        )
        return [bool(row[0]) for row in rows]
    rows = server.execute(f"SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = '{USER}'")
    return [bool(row[0]) for row in rows]


def test_a_verified_connection(secured, opened):
    """With the authority's file in the URL messages pass, over connections that are all encrypted."""
    kind, (server, _), (ca, _) = secured
    url = server.make("own")
    if kind == "mariadb":
        server.execute(f"ALTER USER '{USER}'@'127.0.0.1' REQUIRE SSL")
    store = opened(url + VERIFIED[kind].format(ca=ca))
    put(store, message())
    assert store.status().queues[0].ready == 1
    if kind == "postgresql":
        assert set(encrypted(server)) == {True}


def test_another_authority_is_refused(secured, opened):
    """A server with a certificate of another authority receives nothing."""
    kind, (server, _), (_, other) = secured
    store = opened(server.make("own") + VERIFIED[kind].format(ca=other))
    with pytest.raises(StoreUnavailable, match=r"TLS|certificate"):
        put(store, message())


def test_another_name_is_refused(secured, opened):
    """A certificate for another host is refused, and taken where the URL says that names do not count."""
    kind, (_, server), (_, ca) = secured
    url = server.make("own")
    with pytest.raises(StoreUnavailable, match=r"TLS|certificate"):
        put(opened(url + VERIFIED[kind].format(ca=ca)), message())
    put(opened(url + NAMELESS[kind].format(ca=ca)), message())


@pytest.mark.parametrize("asked", [VERIFIED, NAMELESS], ids=["verified", "nameless"])
def test_a_server_without_tls_is_refused(secured, opened, asked):
    """Who asked for TLS is never served in the clear."""
    kind, _, (ca, _) = secured
    store = opened(shared_server(kind).make("own") + asked[kind].format(ca=ca))
    with pytest.raises(StoreUnavailable, match=r"TLS|SSL"):
        put(store, message())


def test_the_name_of_the_store_shows_the_options(secured, opened):
    """Logs and errors tell that TLS was asked for, and no password."""
    kind, (server, _), (ca, _) = secured
    name = opened(server.url("own") + VERIFIED[kind].format(ca=ca)).name
    assert str(ca) in name and "s3cret" not in name
