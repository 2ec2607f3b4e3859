"""What SQLite's errors mean for a store. A table of result codes; it uses no connection."""

from __future__ import annotations

import os
import shlex
import sqlite3

from ap4r.errors import StoreError, StoreUnavailable, StoreUnusable

#: SQLite's primary result codes (https://www.sqlite.org/rescode.html) and what they mean here.
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "another process has kept it locked for too long",
    sqlite3.SQLITE_LOCKED: "another connection has kept it locked for too long",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write (keep the -wal and -shm files beside their file)",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only",
    sqlite3.SQLITE_NOMEM: "no memory is left",
    sqlite3.SQLITE_PROTOCOL: "its lock could not be taken",
    sqlite3.SQLITE_SCHEMA: "its tables changed meanwhile",
    sqlite3.SQLITE_INTERRUPT: "the statement was interrupted",
}
_UNUSABLE = {
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    sqlite3.SQLITE_PERM: "the file may not be opened",
    sqlite3.SQLITE_AUTH: "the file may not be opened",
}
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


def is_locked(error: BaseException | None) -> bool:
    """Return whether the file is in order and only locked by another connection for now."""
    return _code(error) in _LOCKED


def meaning_of(error: BaseException | None, name: str, path: str, *, committing: bool = False) -> StoreError | None:
    """Return the store error for SQLite's result code, or None if a statement is at fault and not the file at `path`.

    :param name: the store's name in the error.
    :param committing: the error came from a COMMIT.
    """
    code = _code(error)
    if code in _UNAVAILABLE:
        # A failed fsync at COMMIT may or may not have reached the disk; every other failure has rolled back.
        unknown = committing and code == sqlite3.SQLITE_IOERR
        return StoreUnavailable(name, _UNAVAILABLE[code], outcome_unknown=unknown)
    if code in _UNUSABLE:
        return StoreUnusable(name, _UNUSABLE[code])
    if code == sqlite3.SQLITE_CANTOPEN:
        return _why_not_open(name, path)
    if code == sqlite3.SQLITE_ERROR and "no such table" in str(error):
        return StoreUnavailable(name, "its tables are gone")
    return None


def no_folder(folder: str) -> str:
    """Return the text that a folder is missing, with the command that creates it."""
    return f"there is no folder {folder}; create it with: mkdir -p {shlex.quote(folder)}"


def _code(error: BaseException | None) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _why_not_open(name: str, path: str) -> StoreError:
    # SQLite does not report the reason. Opening the file to find it would drop this process's locks on it (POSIX).
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return StoreUnusable(name, no_folder(folder))
    if os.path.isdir(path):
        return StoreUnusable(name, "this is a folder, not a file")
    there = os.path.exists(path)
    if not os.access(folder, os.W_OK | os.X_OK) or (there and not os.access(path, os.W_OK)):
        return StoreUnavailable(name, _UNAVAILABLE[sqlite3.SQLITE_READONLY])
    if not there:
        return StoreUnavailable(name, "the file is gone")
    return StoreUnavailable(name, "the file cannot be opened now; too many files may be open")
