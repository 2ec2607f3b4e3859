"""The inbox's statements, the same for an application's connection of any kind and for a store's own.

Nothing here begins or ends a transaction, and no statement fails because a record is there already: that would
poison a PostgreSQL transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from ap4r.storage.access.transaction import Transaction, to_microseconds, to_seconds
from ap4r.storage.databases.conflict_codes import is_conflict
from ap4r.storage.inbox_record import Record, RecordResult, Rows, Run, Stored, StoredAnswer, is_mark, is_short
from ap4r.storage.schema.tables import Schema

#: How long SQLite and MySQL may wait for somebody else's transaction. PostgreSQL and MariaDB tell at once.
WAIT_SECONDS = 1
_FORGOTTEN_A_TIME = 100


class InboxRecords:
    """Reads and writes the records under one prefix, for one kind of database.

    :param dialect: "sqlite", "mysql", "mariadb" or "postgresql".
    """

    def __init__(self, schema: Schema, dialect: str) -> None:
        self._dialect = dialect
        quote = "`" if self._is_mysql else '"'
        names = [name.replace(quote, 2 * quote) for name in (schema.namespace, schema.inbox.name) if name]
        # A colon would begin a value's name.
        self._table = table = ".".join(f"{quote}{name}{quote}" for name in names).replace(":", "\\:")
        self._columns = "id, content, recorded_at, expires_at"
        self._values = ":id, :content, :recorded_at, :expires_at"
        self._find = f"SELECT content, expires_at, status, headers, body FROM {table} WHERE id = :id"

    def record(self, run: Run, record: Record, now: float) -> Stored | RecordResult:
        """Write a record down unless it is there; tell which, or that somebody else may be about to commit it.

        Returns without waiting for others' transactions, or within about `WAIT_SECONDS`. A new record belongs to the
        transaction of `run`: it is there for others when that commits, and never was when that is rolled back.
        After Entry.BUSY that transaction may be fit for nothing but a rollback.

        :param now: Unix seconds of this host.
        :raises Exception: the driver's own error, for anything but a conflict.
        """
        values = {
            "id": record.key,
            "content": record.content,
            "recorded_at": to_microseconds(now),
            "expires_at": to_microseconds(record.expires_at),
        }
        try:
            if self._insert(run, values) == 1:
                return RecordResult.FIRST
        except Exception as error:
            if not is_conflict(error):
                raise
            if not self._is_sqlite:
                return RecordResult.BUSY
            # Whoever writes to the file need not be at this record; looking is free.
        try:
            # Not what this transaction's snapshot may show, but what is committed now.
            found = self._found(run, record.key, " LOCK IN SHARE MODE" if self._is_mysql else "")
        except Exception as error:
            if is_conflict(error):
                return RecordResult.BUSY
            raise
        return RecordResult.BUSY if found is None else found

    def receive(self, run: Run, record: Record, now: float) -> Stored | RecordResult:
        """Write a delivery's record down, and the one beside it, unless the message is there under either key.

        What is found is kept until the record's end.
        """
        entry = self.record(run, record, now)
        if record.beside is None or entry is RecordResult.BUSY:
            self._keep(run, record.key, entry, record.expires_at)
            return entry
        key, content = record.beside
        if not is_mark(content):
            # The path is not signed. A mark says that the message came with a signed one; where nothing is found, the
            # code before this may have recorded it.
            self._keep(run, record.key, entry, record.expires_at)
            if isinstance(entry, Stored) and not is_mark(entry.content):
                return entry
            found = self.find(run, key)
            return entry if found is None else found
        beside = self.record(run, Record(key, content, record.expires_at), now)
        self._keep(run, record.key, entry, record.expires_at)
        self._keep(run, key, beside, record.expires_at)
        if isinstance(entry, Stored) or beside is RecordResult.FIRST:
            return entry
        # A mark is of another path, or of a call before this one that is not committed.
        return entry if isinstance(beside, Stored) and is_mark(beside.content) else beside

    def _keep(self, run: Run, key: bytes, entry: Stored | RecordResult, until: float) -> None:
        if isinstance(entry, Stored) and is_short(entry, until):
            self.extend(run, key, until)

    def find(self, run: Run, key: bytes) -> Stored | None:
        """Read a record; None when there is none that is committed."""
        return self._found(run, key, "")

    def answer(self, run: Run, key: bytes, answer: StoredAnswer) -> bool:
        """Store the answer with a record of the same transaction; tell whether that was there."""
        headers = json.dumps(answer.headers, ensure_ascii=False, separators=(",", ":")).encode()
        values = {"id": key, "status": answer.status, "headers": headers, "body": answer.body}
        update = f"UPDATE {self._table} SET status = :status, headers = :headers, body = :body WHERE id = :id"
        return run(update, values).changed == 1

    def extend(self, run: Run, key: bytes, expires_at: float) -> None:
        """Let a record live longer, never shorter."""
        values = {"id": key, "expires_at": to_microseconds(expires_at)}
        run(f"UPDATE {self._table} SET expires_at = :expires_at WHERE id = :id AND expires_at < :expires_at", values)

    def forget(self, run: Run, now: float, most: int = _FORGOTTEN_A_TIME) -> int:
        """Delete up to `most` records whose time is over; give their number."""
        select = f"SELECT id FROM {self._table} WHERE expires_at < :now ORDER BY expires_at LIMIT {int(most)}"
        found = run(select, {"now": to_microseconds(now)}).rows
        # In one order, so that two who do this at once cannot lock each other out.
        keys = {f"id{number}": key for number, key in enumerate(sorted(bytes(row[0]) for row in found))}
        if not keys:
            return 0
        delete = f"DELETE FROM {self._table}"
        if self._is_mysql:
            # A scan, which it may prefer where much is over, would wait for every record that is not committed yet.
            delete = f"DELETE one FROM {self._table} AS one FORCE INDEX (PRIMARY)"
        # A repeat may have let one of them live longer meanwhile.
        these = f"id IN ({', '.join(f':{name}' for name in keys)}) AND expires_at < :now"
        return run(f"{delete} WHERE {these}", {**keys, "now": to_microseconds(now)}).changed

    @property
    def _is_sqlite(self) -> bool:
        return self._dialect == "sqlite"

    @property
    def _is_mysql(self) -> bool:
        return self._dialect in ("mysql", "mariadb")

    def _insert(self, run: Run, values: Mapping[str, Any]) -> int:
        if self._is_mysql:
            return self._insert_mysql(run, values)
        insert = f"INSERT INTO {self._table} ({self._columns})"
        if self._dialect == "postgresql":
            # The lock is the transaction's and the record's: it is held while the record is not committed, and is
            # let go with it, also where a savepoint takes both back.
            locked = f"{insert} SELECT {self._values} WHERE pg_try_advisory_xact_lock(CAST(:lock AS bigint))"
            lock = int.from_bytes(values["id"][:8], "big", signed=True)
            return run(f"{locked} ON CONFLICT DO NOTHING", {**values, "lock": lock}).changed
        return self._insert_sqlite(run, f"{insert} VALUES ({self._values}) ON CONFLICT DO NOTHING", values)

    def _insert_sqlite(self, run: Run, insert: str, values: Mapping[str, Any]) -> int:
        # There is one lock for the whole file, and how long to wait for it is the connection's to say.
        [(before,)] = run("PRAGMA busy_timeout", {}).rows
        run(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000}", {})
        try:
            return run(insert, values).changed
        finally:
            run(f"PRAGMA busy_timeout = {int(before)}", {})

    def _insert_mysql(self, run: Run, values: Mapping[str, Any]) -> int:
        # IGNORE takes no notice of a record that is committed; one that is not is somebody's lock. A locking look
        # first would lock the gap where there is no record, and two such gaps lock each other out.
        insert = f"INSERT IGNORE INTO {self._table} ({self._columns}) VALUES ({self._values})"
        [(version, before)] = run("SELECT VERSION(), @@SESSION.innodb_lock_wait_timeout", {}).rows
        if "mariadb" in str(version).lower():
            return run(f"SET STATEMENT innodb_lock_wait_timeout = 0 FOR {insert}", values).changed
        run(f"SET SESSION innodb_lock_wait_timeout = {WAIT_SECONDS}", {})
        try:
            return run(insert, values).changed
        finally:
            run(f"SET SESSION innodb_lock_wait_timeout = {int(before)}", {})

    def _found(self, run: Run, key: bytes, locking: str) -> Stored | None:
        rows = run(self._find + locking, {"id": key}).rows
        if not rows:
            return None
        [(content, expires_at, status, headers, body)] = rows
        answer = None
        if status is not None:
            read = tuple((name, value) for name, value in json.loads(bytes(headers)))
            answer = StoredAnswer(int(status), read, bytes(body))
        return Stored(bytes(content), to_seconds(expires_at), answer)


def recall(tx: Transaction, key: bytes, until: float) -> Stored | None:
    """Read a record in a store's own transaction, and let it live at least until an instant (Unix seconds)."""
    inbox, run = InboxRecords(tx.schema, tx.connection.dialect.name), runner(tx.connection)
    found = inbox.find(run, key)
    if found is not None and is_short(found, until):
        inbox.extend(run, key, until)
    return found


def runner(connection: Connection) -> Run:
    """Run statements on a connection of SQLAlchemy."""

    def run(statement: str, values: Mapping[str, Any]) -> Rows:
        result = connection.execute(text(statement), dict(values))
        return Rows(result.rowcount, [tuple(row) for row in result] if result.returns_rows else ())

    return run
