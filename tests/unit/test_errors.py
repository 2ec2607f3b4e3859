"""Errors: facts as attributes, a text that helps, no secrets, and they travel between processes."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ap4r import errors
from ap4r.errors import (
    Ap4rError,
    BlockUsed,
    ConfigError,
    ConnectionUnfit,
    DeliveryBusy,
    DeliveryDiffers,
    DeliveryRefused,
    DeliveryRequired,
    DepthExceeded,
    HandleClosed,
    MessageConflict,
    MessageError,
    NotADelivery,
    OptionRefused,
    OwnerLost,
    PayloadNotEncodable,
    PayloadTooLarge,
    SchemaMismatch,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
    TargetRefused,
    TransactionLost,
    TransactionOpen,
)
from ap4r.redaction import shortened, without_credentials

EXAMPLES = [
    ConfigError("concurrency", "0 is too few"),
    TargetRefused("ftp://h", "unknown scheme"),
    OptionRefused("delay_seconds", -1, "a delay is not negative"),
    PayloadTooLarge("the body", 2_000_000, 1_048_576, "max_body_bytes"),
    PayloadNotEncodable("params x", {1}, "json"),
    MessageConflict("018f5b0e-0000-7000-8000-000000000001"),
    HandleClosed(),
    TransactionOpen(),
    ConnectionUnfit("a psycopg connection", "it is closed"),
    BlockUsed("transaction"),
    TransactionLost("a psycopg connection", "it was committed"),
    NotADelivery(),
    DeliveryRequired("it has no signature"),
    DepthExceeded(101, 100),
    DeliveryBusy("0199-1"),
    DeliveryDiffers("0199-1"),
    StoreUnavailable("sqlite:///a.db", "locked", outcome_unknown=True),
    StoreUnusable("sqlite:///a.db", "not a database"),
    SchemaMismatch("sqlite:///a.db", "1.0", "1.1", "ap4r migrate"),
    OwnerLost("host:1"),
]


def _kind(error):
    return type(error).__name__


@pytest.mark.parametrize("error", EXAMPLES, ids=_kind)
def test_an_error_survives_pickling_with_its_facts(error):
    """A process pool or a test runner can hand an error on; nothing of it is lost."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_every_error_is_an_example_here():
    """An error that is added is tried out too."""
    defined = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Ap4rError)}
    assert defined - {type(error) for error in EXAMPLES} == {Ap4rError, DeliveryRefused, MessageError, StoreError}


def test_callers_mistakes_are_value_errors():
    """Who knows nothing of ap4r's errors catches a bad argument as ValueError."""
    for kind in (TargetRefused, OptionRefused, PayloadTooLarge, PayloadNotEncodable):
        assert issubclass(kind, MessageError)
    assert issubclass(MessageError, ValueError)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigError("concurrency", "0 is too few"), ["concurrency", "0 is too few"]),
        (PayloadTooLarge("the body", 2_000_000, 1_048_576, "max_body_bytes"), ["2,000,000", "1,048,576", "max_body"]),
        (PayloadNotEncodable("params x[y]", {1}, "form"), ["params x[y]", "set", "form", "convert"]),
        (PayloadNotEncodable("params", 1, "form", "give a mapping"), ["int", "give a mapping"]),
        (StoreUnavailable("s", "locked", outcome_unknown=True), ["s", "locked", "outcome unknown"]),
        (StoreUnavailable("s", "locked"), ["store s: locked"]),
        (SchemaMismatch("s", "1.0", "1.1", "ap4r migrate"), ["1.0", "1.1", "ap4r migrate"]),
        (HandleClosed(), ["ap4r.session"]),
    ],
    ids=lambda value: _kind(value) if isinstance(value, Ap4rError) else "",
)
def test_the_text_holds_the_facts(error, words):
    """What went wrong, its size and what to do stand in the text."""
    assert [word for word in words if word not in str(error)] == []
    assert ("unknown" in str(error)) == getattr(error, "outcome_unknown", False)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("http://user:secret@host/x", "http://…@host/x"),
        ("//user:secret@host/x", "//…@host/x"),
        ("http://user@host", "http://…@host"),
        ("http://user:sec/ret@host/x", "http://…@host/x"),
        ("mysql+pymysql://root:secret@db:3306/shop", "mysql+pymysql://…@db:3306/shop"),
        ("http://a:b@h1 and http://c:d@h2", "http://…@h1 and http://…@h2"),
        ("http://host/users/@me", "http://host/users/@me"),
        ("http://host:80/a@b?c=d@e", "http://host:80/a@b?c=d@e"),
        ("sqlite:////srv/a@b.db", "sqlite:////srv/a@b.db"),
    ],
)
def test_credentials_are_left_out(text, safe):
    """A URL's user and password are not repeated; an @ elsewhere stays."""
    assert without_credentials(text) == safe


@pytest.mark.parametrize(
    "target",
    [
        "http://user:secret@host/",
        {"url": "http://user:secret@host/"},
        "http://user:secret" + "t" * 1_000 + "@host/",
        {"url": ["http://user:secret@host/"]},
    ],
)
def test_a_refused_target_shows_no_password(target):
    """However a target with a password was given, the text of its refusal can be logged."""
    assert "secret" not in str(TargetRefused(target, "no"))


class _Unwritable:
    def __repr__(self):
        raise RuntimeError("no")


def _deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("make", [_Unwritable, _deep, lambda: 10**10_000, lambda: "x" * 10**6, lambda: b"x" * 10**6])
def test_shortened_writes_anything(make):
    """A value too big, too deep or too odd to be written is no second error."""
    assert 0 < len(shortened(make())) <= 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (True, "True"),
        ("a'b", '"a\'b"'),
        ({"url": "/x"}, "{'url': '/x'}"),
        (2**1_000, "<an integer of 1001 bits>"),
        ("x" * 198, "'" + "x" * 198 + "'"),
    ],
)
def test_shortened_writes_small_values_as_they_are(value, text):
    """What is short is shown in full; only of a huge integer the size is shown."""
    assert shortened(value) == text


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), lambda inner: st.lists(inner), max_leaves=50))
def test_shortened_is_bounded(value):
    """No value makes a text longer than asked for."""
    assert len(shortened(value, 40)) <= 40
