"""Settings of a server's URL that can never work are distinguished from an unreachable server."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from ap4r.errors import ConfigError, StoreUnavailable, StoreUnusable
from ap4r.redaction import without_credentials
from ap4r.settings.settings import Settings
from ap4r.storage.databases.hosts import parse_url
from ap4r.storage.databases.postgresql.postgresql import PostgresqlDatabase
from ap4r.storage.open import open_store

MYSQL, POSTGRESQL = "mysql+pymysql://u:geheim@127.0.0.1:1/x", "postgresql+psycopg://u:geheim@127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (f"{MYSQL}?foo=bar", "option foo"),
        (f"{MYSQL}?read_timeout=x", "option read_timeout"),
        (f"{MYSQL}?ssl_ca=/nowhere/ca.pem", "ssl_ca=/nowhere/ca.pem"),
        (f"{POSTGRESQL}?foo=bar", "option foo"),
        (f"{POSTGRESQL}?sslmode=bogus", "option sslmode"),
    ],
)
def test_an_option_that_means_nothing(url, named):
    """An option that the driver refuses is named, and waiting is said not to help."""
    store = open_store(url, Settings())
    with pytest.raises(StoreUnusable, match=named) as caught:
        store.prepare()
    store.close()
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        ('root certificate file "/no/ca.pem" does not exist\nEither provide', StoreUnusable, "does not exist Either"),
        ('private key file "/a.key" has group or world access', StoreUnusable, "world access"),
        ('invalid port number: "99999"', StoreUnusable, "port number"),
        ("fe_sendauth: no password supplied", StoreUnusable, "no password supplied"),
        ("SSL error: certificate verify failed", StoreUnavailable, "the TLS connection failed: "),
        ("Connection refused\n\tIs the server running", StoreUnavailable, "cannot be reached: Connection refused Is"),
        ('could not translate host name "db" to address', StoreUnavailable, "its name does not resolve: "),
    ],
)
def test_what_libpq_says_of_a_new_connection(said, kind, told):
    """A setting that means nothing and a server that is away are two things, each told in one line."""
    database = PostgresqlDatabase(*parse_url(POSTGRESQL), 5.0, 1_000)
    error = database.meaning_of(DBAPIError(None, None, psycopg.OperationalError(said)))
    assert type(error) is kind
    assert told in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("url", ["mysql+pymysql://u:ge@heim@127.0.0.1:1/x", "mysql+pymysql://?user=u&password=geheim"])
def test_no_part_of_a_password_is_shown(url):
    """A password with an @, or one among the options, is left out of what is wrong with the URL."""
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert "heim" not in str(caught.value)
    assert "heim" not in without_credentials(url)


@pytest.mark.parametrize("port", ["abc", "99999"])
def test_a_bad_port(port):
    """The error for an invalid port is ap4r's own."""
    with pytest.raises(ConfigError, match=r"PORT is a number|is not a port"):
        parse_url(f"mysql+pymysql://u:p@db:{port}/x")


def test_a_server_that_refuses_is_said_to_refuse():
    """The error of an unreachable server tells why it is."""
    store = open_store(MYSQL, Settings())
    with pytest.raises(StoreUnavailable, match="refused"):
        store.prepare()
    store.close()
