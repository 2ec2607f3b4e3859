"""The inbox's statements, the same for an application's connection of any kind and for a store's own.

Nothing here begins or ends a transaction, and no statement fails because a record exists already: that would abort
a PostgreSQL transaction.
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

#: How long SQLite and MySQL may wait for another transaction. PostgreSQL and MariaDB return at once.
WAIT_SECONDS = 1
_DELETE_BATCH = 100


class InboxRecords:
    """Reads and writes the records under one prefix, for one kind of database.

    :param dialect: "sqlite", "mysql", "mariadb" or "postgresql".
    """

    def __init__(self, schema: Schema, dialect: str) -> None:
        self._dialect = dialect
        quote = "`" if self._is_mysql else '"'
        names = [name.replace(quote, 2 * quote) for name in (schema.namespace, schema.inbox.name) if name]
        # A colon would begin the name of a value.
        self._table = table = ".".join(f"{quote}{name}{quote}" for name in names).replace(":", "\\:")
        self._columns = "id, content, recorded_at, expires_at"
        self._values = ":id, :content, :recorded_at, :expires_at"
        self._find = f"SELECT content, expires_at, status, headers, body FROM {table} WHERE id = :id"

    def record(self, run: Run, record: Record, now: float) -> Stored | RecordResult:
        """Write a record unless it exists; return which, or BUSY if another transaction may be about to commit it.

        Returns without waiting for other transactions, or within about `WAIT_SECONDS`. A new record belongs to the
        transaction of `run`: others see it when that commits, and it disappears when that is rolled back.
        After RecordResult.BUSY that transaction may be usable only for a rollback.

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
            # Another writer of the file need not be writing this record; a read does not conflict.
        try:
            # Read what is committed now, not what this transaction's snapshot shows.
            found = self._found(run, record.key, " LOCK IN SHARE MODE" if self._is_mysql else "")
        except Exception as error:
            if is_conflict(error):
                return RecordResult.BUSY
            raise
        return RecordResult.BUSY if found is None else found

    def receive(self, run: Run, record: Record, now: float) -> Stored | RecordResult:
        """Write a delivery's record, and the one beside it, unless the message is recorded under either key.

        A record that is found is kept until this record's end.
        """
        entry = self.record(run, record, now)
        if record.beside is None or entry is RecordResult.BUSY:
            self._keep(run, record.key, entry, record.expires_at)
            return entry
        key, content = record.beside
        if not is_mark(content):
            # The path is not signed. A mark means that the message came with a signed one; if nothing is found, an
            # earlier version may have recorded it.
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
        # A mark belongs to another path, or to an earlier call that is not committed.
        return entry if isinstance(beside, Stored) and is_mark(beside.content) else beside

    def _keep(self, run: Run, key: bytes, entry: Stored | RecordResult, until: float) -> None:
        if isinstance(entry, Stored) and is_short(entry, until):
            self.extend(run, key, until)

    def find(self, run: Run, key: bytes) -> Stored | None:
        """Return a record; None when none is committed."""
        return self._found(run, key, "")

    def answer(self, run: Run, key: bytes, answer: StoredAnswer) -> bool:
        """Store the answer in a record of the same transaction; return whether the record existed."""
        headers = json.dumps(answer.headers, ensure_ascii=False, separators=(",", ":")).encode()
        values = {"id": key, "status": answer.status, "headers": headers, "body": answer.body}
        update = f"UPDATE {self._table} SET status = :status, headers = :headers, body = :body WHERE id = :id"
        return run(update, values).changed == 1

    def extend(self, run: Run, key: bytes, expires_at: float) -> None:
        """Extend a record's life; never shorten it."""
        values = {"id": key, "expires_at": to_microseconds(expires_at)}
        run(f"UPDATE {self._table} SET expires_at = :expires_at WHERE id = :id AND expires_at < :expires_at", values)

    def forget(self, run: Run, now: float, most: int = _DELETE_BATCH) -> int:
        """Delete up to `most` expired records; return their number."""
        select = f"SELECT id FROM {self._table} WHERE expires_at < :now ORDER BY expires_at LIMIT {int(most)}"
        found = run(select, {"now": to_microseconds(now)}).rows
        # In one order, so that two concurrent deletes cannot deadlock.
        keys = {f"id{number}": key for number, key in enumerate(sorted(bytes(row[0]) for row in found))}
        if not keys:
            return 0
        delete = f"DELETE FROM {self._table}"
        if self._is_mysql:
            # A scan, which MySQL may prefer when many have expired, would wait for every uncommitted record.
            delete = f"DELETE one FROM {self._table} AS one FORCE INDEX (PRIMARY)"
        # A repeat may have extended the life of one of them meanwhile.
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
            # The lock belongs to the transaction and the record: it is held while the record is not committed, and is
            # released with it, also when a rollback to a savepoint removes both.
            locked = f"{insert} SELECT {self._values} WHERE pg_try_advisory_xact_lock(CAST(:lock AS bigint))"
            lock = int.from_bytes(values["id"][:8], "big", signed=True)
            return run(f"{locked} ON CONFLICT DO NOTHING", {**values, "lock": lock}).changed
        return self._insert_sqlite(run, f"{insert} VALUES ({self._values}) ON CONFLICT DO NOTHING", values)

    def _insert_sqlite(self, run: Run, insert: str, values: Mapping[str, Any]) -> int:
        # There is one lock for the whole file, and the connection determines how long to wait for it.
        [(before,)] = run("PRAGMA busy_timeout", {}).rows
        run(f"PRAGMA busy_timeout = {WAIT_SECONDS * 1000}", {})
        try:
            return run(insert, values).changed
        finally:
            run(f"PRAGMA busy_timeout = {int(before)}", {})

    def _insert_mysql(self, run: Run, values: Mapping[str, Any]) -> int:
        # IGNORE skips a committed record; an uncommitted one is another transaction's lock. A locking read first would
        # lock the gap if there is no record, and two such gap locks can deadlock.
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
    """Return a record, read in a store's own transaction, and extend its life to an instant (Unix seconds)."""
    inbox, run = InboxRecords(tx.schema, tx.connection.dialect.name), runner(tx.connection)
    found = inbox.find(run, key)
    if found is not None and is_short(found, until):
        inbox.extend(run, key, until)
    return found


def runner(connection: Connection) -> Run:
    """Return a callable that runs statements on a SQLAlchemy connection."""

    def run(statement: str, values: Mapping[str, Any]) -> Rows:
        result = connection.execute(text(statement), dict(values))
        return Rows(result.rowcount, [tuple(row) for row in result] if result.returns_rows else ())

    return run
