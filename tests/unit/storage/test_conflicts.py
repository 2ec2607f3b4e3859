"""Which errors say that two transactions met, whatever driver said so and whatever wraps it."""

from __future__ import annotations

import sqlite3

import psycopg
import pymysql
import pytest
from sqlalchemy.exc import OperationalError

from ap4r.errors import StoreUnavailable
from ap4r.storage.databases.conflict_codes import is_conflict


def _sqlite(code):
    error = sqlite3.OperationalError("said")
    error.sqlite_errorcode = code
    return error


MET = [
    *(_sqlite(code) for code in (5, 6, 261, 517)),
    *(pymysql.err.OperationalError(code, "said") for code in (1020, 1205, 1213, 3572)),
    psycopg.errors.SerializationFailure("said"),
    psycopg.errors.DeadlockDetected("said"),
    psycopg.errors.LockNotAvailable("said"),
]
NOT_MET = [
    _sqlite(1),
    _sqlite(13),
    pymysql.err.IntegrityError(1062, "said"),
    pymysql.err.OperationalError(2013, "said"),
    psycopg.errors.UniqueViolation("said"),
    psycopg.OperationalError("said"),
    OSError(1213, "said"),
    ValueError(),
]


@pytest.mark.parametrize(("errors", "is_one"), [(MET, True), (NOT_MET, False)])
def test_conflicts_are_recognised_by_their_codes(errors, is_one):
    """Bare, in SQLAlchemy's error, and behind one of ours."""
    for error in errors:
        assert is_conflict(error) is is_one, error
        wrapped = OperationalError("SQL", {}, error)
        assert is_conflict(wrapped) is is_one
        ours = StoreUnavailable("store", "problem")
        ours.__cause__ = wrapped
        assert is_conflict(ours) is is_one
