"""Leases whose message was not read: usually it exists all the same; after a partly restored backup it may not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Column, Row, Table, select

from ap4r.storage.access.statements import Among, as_committed, by_primary_key
from ap4r.storage.access.transaction import Transaction
from ap4r.storage.schema.rows import id_text

_log = logging.getLogger("ap4r.storage")


class MissingMessages:
    """Separates leases without a message from those whose message was only not read.

    :param content: the columns to read beside a message's id.
    """

    def __init__(self, messages: Table, content: Sequence[Column[Any]]) -> None:
        wanted = select(messages.c.id, *content)
        self._wanted = Among(lambda ids: as_committed(by_primary_key(wanted.where(messages.c.id.in_(ids)), messages)))

    def find_or_remove(self, tx: Transaction, unseen: Sequence[bytes]) -> Sequence[Row[Any]]:
        """Return the messages of some leases that exist, and delete the leases of those that do not.

        Such a message has nothing left to deliver, and must not block all others.
        """
        rows = self._wanted.rows(tx.connection, unseen)
        there = {row[0] for row in rows}
        orphans = [stored_id for stored_id in unseen if stored_id not in there]
        if orphans:
            tx.delete(tx.schema.leased, [{"id": orphan} for orphan in orphans])
            tx.after_commit.append(partial(_log_missing, tx.store, orphans))
        return rows


def _log_missing(store: str, orphans: list[bytes]) -> None:
    _log.error(
        "store %s: the content of %d listed messages is missing, as after a backup that was restored in part; "
        "they were removed from the list, the first is %s",
        *(store, len(orphans), id_text(orphans[0])),
    )
