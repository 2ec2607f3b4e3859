"""Headers of SOAP after a WSDL: those that are given, and the header Security that a table of the settings asks for."""

from __future__ import annotations

import base64
import datetime
import hashlib

import pytest
from lxml import etree

from ap4r.describe.describe import describe_message
from ap4r.errors import ConfigError, PayloadNotEncodable
from ap4r.protocols.soap.soap import Soap
from ap4r.protocols.soap.wsdl import Wsdl
from ap4r.settings.load import parse_settings
from ap4r.settings.settings import Settings
from tests.support.wsdl import WSDL

COMPILED = Wsdl("http://a/wsdl", {"http://a/wsdl": WSDL.format(more="").encode()})
SECEXT = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
UTILITY = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}"
ENVELOPE = "{http://schemas.xmlsoap.org/soap/envelope/}"


def envelope_of(params=None, securities=None, **options):
    """Write a message after the WSDL; return its envelope."""
    message = describe_message(
        "/call", {"id": 5} if params is None else params, protocol="soap", action="Go", limits=Settings(),
        options={"wsdl": "/wsdl", **options},
    )  # fmt: skip
    written = Soap().complete_secured(message, COMPILED, securities or {})
    envelope = etree.fromstring(written.body)
    assert envelope.findtext(f"{ENVELOPE}Body/{{urn:t}}Go/{{urn:t}}id") == "5"
    return envelope


def header_of(params=None, securities=None, **options):
    """Write a message after the WSDL; return the header of its envelope."""
    return envelope_of(params, securities, **options).find(f"{ENVELOPE}Header")


def table(secret="sécret", **options):
    """Return the facts of a table [wsse.bank]."""
    [one] = parse_settings({"wsse": {"bank": options}}, {}, {}, "/srv", lambda reference: f"{secret}\n").wsse
    return {"bank": one.facts()}


def test_elements_of_lxml_are_headers():
    """As an option, and as zeep takes them among the params."""
    element = etree.fromstring('<x:Session xmlns:x="urn:x"><x:id>5</x:id></x:Session>')
    for header in (
        header_of(header=element),
        header_of(header=[element]),
        header_of({"id": 5, "_soapheaders": [element]}),
    ):
        assert [child.tag for child in header] == ["{urn:x}Session"]
        assert header.findtext("{urn:x}Session/{urn:x}id") == "5"
    assert header_of() is None


def test_a_username_token_has_the_password_or_a_digest_of_it():
    """The digest is that of the nonce, the instant and the password (UsernameToken Profile 1.0, 3.1)."""
    plain = table(username="shop", password="env:P")
    token = header_of(wsse="bank", securities=plain).find(f".//{SECEXT}UsernameToken")
    assert token.findtext(f"{SECEXT}Username") == "shop"
    assert token.findtext(f"{SECEXT}Password") == "sécret"
    tokens = [
        header_of(wsse="bank", securities=table(username="shop", password="env:P", digest=True)).find(
            f".//{SECEXT}UsernameToken"
        )
        for _ in range(2)
    ]
    nonces = [base64.b64decode(one.findtext(f"{SECEXT}Nonce")) for one in tokens]
    assert nonces[0] != nonces[1]
    for one, nonce in zip(tokens, nonces, strict=True):
        created = one.findtext(f"{UTILITY}Created")
        digest = hashlib.sha1(nonce + created.encode() + "sécret".encode()).digest()
        assert base64.b64decode(one.findtext(f"{SECEXT}Password")) == digest


def test_a_timestamp_says_until_when_it_is_good():
    """In UTC, from now on."""
    stamp = header_of(wsse="bank", securities=table(timestamp_seconds=300)).find(f".//{UTILITY}Timestamp")
    created, expires = (
        datetime.datetime.fromisoformat(stamp.findtext(f"{UTILITY}{name}")) for name in ("Created", "Expires")
    )
    assert expires - created == datetime.timedelta(seconds=300)


@pytest.mark.parametrize(
    ("securities", "told"),
    [
        ({}, "do not have this table"),
        (table(key="/no/key.pem", certificate="/no/certificate.pem"), "/no/key.pem cannot be read"),
    ],
)
def test_what_cannot_be_secured_is_never_sent(securities, told):
    """It becomes a dead letter with the reason."""
    with pytest.raises(PayloadNotEncodable, match=told):
        header_of(wsse="bank", securities=securities)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "has no effect"),
        ({"username": "a"}, "together"),
        ({"username": "a", "password": "hunter2"}, "a reference"),
        ({"key": "a"}, "together"),
        ({"timestamp_seconds": -1}, "number of seconds"),
        ({"timestamp_seconds": 5, "digest": 1}, "true nor false"),
        ({"user": "a"}, "unknown"),
    ],
)
def test_a_table_that_means_nothing_is_refused(options, told):
    """At the start, naming the table; a password is never shown."""
    with pytest.raises(ConfigError, match=told) as caught:
        table(**options)
    assert "wsse.bank" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_that_is_not_there_stops_the_dispatcher_only():
    """A web process carries the reference along; the facts are read where the envelope is secured."""

    def absent(reference):
        raise ValueError("the variable 'P' is not set")

    settings = parse_settings({"wsse": {"bank": {"username": "a", "password": "env:P"}}}, {}, {}, "/srv", absent)
    with pytest.raises(ConfigError, match=r"wsse\.bank\.password"):
        settings.wsse[0].facts()


def test_files_count_from_the_settings_folder():
    """Keys and copies of documents alike."""
    settings = parse_settings(
        {"wsse": {"a": {"key": "k.pem", "certificate": "/c.pem"}}, "wsdl_copies": {"http://a/b.xsd": "b.xsd"}},
        {}, {}, "/srv/shop",
    )  # fmt: skip
    assert (settings.wsse[0].key, settings.wsse[0].certificate) == ("/srv/shop/k.pem", "/c.pem")
    assert settings.wsdl_copies == (("http://a/b.xsd", "/srv/shop/b.xsd"),)
    for wrong in ({"wsdl_copies": {"b.xsd": "b"}}, {"wsdl_copies": 5}, {"wsdl_copies": {"http://a": 5}}):
        with pytest.raises(ConfigError, match="wsdl_copies"):
            parse_settings(wrong, {}, {}, "/srv")
