"""Finding the connection inside of what was wrapped around it, by its true class and never by a proxy's word."""

from __future__ import annotations

import sqlite3
import threading
import weakref

import pytest
from werkzeug.local import LocalProxy

from ap4r.errors import ConnectionUnfit
from ap4r.storage.app_connection.detect import recognise
from ap4r.storage.app_connection.drivers import driver_of


class Passes:
    """Hands everything on to what it holds."""

    def __init__(self, inner):
        self._somewhere = inner

    def __getattr__(self, name):
        return getattr(self.__dict__["_somewhere"], name)


class Hides:
    """Keeps it under a private name, in a slot."""

    __slots__ = ("__inner", "__weakref__")

    def __init__(self, inner):
        self.__inner = inner

    def cursor(self):
        return self.__inner.cursor()

    def commit(self):
        self.__inner.commit()

    def rollback(self):
        self.__inner.rollback()


class Pretends:
    """Says of itself that it is what it wraps, as wrapt's proxies do."""

    def __init__(self, inner):
        self.__wrapped__ = inner

    @property
    def __class__(self):
        return type(self.__wrapped__)

    def __getattr__(self, name):
        return getattr(self.__wrapped__, name)


class Returned:
    """Has given its connection back, and fails at each attribute with an error of its own."""

    def __getattr__(self, name):
        raise RuntimeError("it was given back")


def proxied(inner):
    """Return a proxy of werkzeug's."""
    return LocalProxy(lambda: inner)


def lazy(inner):
    """Return a proxy of Django's."""
    from django.utils.functional import SimpleLazyObject

    return SimpleLazyObject(lambda: inner)


@pytest.fixture
def connection():
    """A connection."""
    made = sqlite3.connect(":memory:")
    yield made
    made.close()


@pytest.mark.parametrize("wraps", [Passes, Hides, Pretends, proxied, lazy])
def test_one_wrapper(connection, wraps):
    """What is inside is found, and ends are reported to the wrapper."""
    given = wraps(connection)
    driver = driver_of(given)
    assert (driver.raw, driver.given) == (connection, given)
    assert driver.raw is connection
    assert recognise(given).what == "a sqlite3 connection"


def test_wrappers_around_wrappers(connection):
    """However they are stacked."""
    assert driver_of(Hides(Passes(Pretends(Hides(connection))))).raw is connection


def test_a_weak_reference(connection):
    """A weak proxy is looked through too."""
    hides = Hides(connection)
    assert driver_of(weakref.proxy(hides)).raw is connection


def test_what_is_none_stays_none(connection):
    """A cursor, something with two connections, a lock and a module are refused, and so is what was given back."""
    two = Passes(connection)
    two.other = sqlite3.connect(":memory:")
    for given in (connection.cursor(), two, threading.Lock(), sqlite3, Returned(), object()):
        with pytest.raises(ConnectionUnfit, match="not a connection that ap4r supports"):
            recognise(given)
    two.other.close()
