"""What SQLite's result codes mean to a caller (https://www.sqlite.org/rescode.html)."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from ap4r.errors import StoreUnavailable, StoreUnusable
from ap4r.storage.databases.sqlite.sqlite import SqliteDatabase

URL = "sqlite:////no/such/folder/x.db"


def meaning(code, text="something", statement="INSERT"):
    """Return the store's error for a result code of SQLite."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return SqliteDatabase(URL, 1.0).meaning_of(OperationalError(statement, None, error))


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_RECOVERY,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_READONLY_DBMOVED,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_NOMEM,
    ],
)
def test_what_may_pass(code):
    """Locks, full and failing disks may pass: the call may be repeated, and nothing of it was done."""
    error = meaning(code)
    assert type(error) is StoreUnavailable
    assert not error.outcome_unknown
    assert URL in str(error)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CORRUPT_INDEX])
def test_what_does_not_pass(code):
    """A file that is damaged, or is none of SQLite's, does not mend itself."""
    assert type(meaning(code)) is StoreUnusable


def test_a_missing_folder_does_not_pass():
    """A file that cannot be opened because its folder is missing is reported as such."""
    error = meaning(sqlite3.SQLITE_CANTOPEN)
    assert type(error) is StoreUnusable
    assert "no folder /no/such/folder" in str(error)


def test_only_a_commit_that_failed_to_reach_the_disk_is_in_doubt():
    """The outcome is unknown after a failed fsync at COMMIT, and at no other time."""
    assert meaning(sqlite3.SQLITE_IOERR_FSYNC, statement="COMMIT").outcome_unknown
    assert not meaning(sqlite3.SQLITE_IOERR_FSYNC, statement="BEGIN IMMEDIATE").outcome_unknown
    assert not meaning(sqlite3.SQLITE_FULL, statement="COMMIT").outcome_unknown


def test_missing_tables_may_pass():
    """Missing tables are created again by the next call."""
    assert type(meaning(sqlite3.SQLITE_ERROR, "no such table: ap4r_ready")) is StoreUnavailable


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH])
def test_what_blames_the_statement(code):
    """Where one statement's values are at fault nothing is said of the store."""
    assert meaning(code) is None
    assert meaning(sqlite3.SQLITE_ERROR, "near X: syntax error") is None
