"""Leases whose message was not seen: mostly it is there all the same; a backup put back in part leaves others."""

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
    """Tells leases without a message from those whose message was not seen.

    :param content: what is wanted of a message beside its id.
    """

    def __init__(self, messages: Table, content: Sequence[Column[Any]]) -> None:
        wanted = select(messages.c.id, *content)
        self._wanted = Among(lambda ids: as_committed(by_primary_key(wanted.where(messages.c.id.in_(ids)), messages)))

    def told_apart(self, tx: Transaction, unseen: Sequence[bytes]) -> Sequence[Row[Any]]:
        """Give the messages of some leases that are there, and remove the leases of those that are not.

        There is nothing left of such a message that could be delivered, and one of them must not hold up all others.
        """
        rows = self._wanted.rows(tx.connection, unseen)
        there = {row[0] for row in rows}
        orphans = [stored_id for stored_id in unseen if stored_id not in there]
        if orphans:
            tx.delete(tx.schema.leased, [{"id": orphan} for orphan in orphans])
            tx.after_commit.append(partial(_tell, tx.store, orphans))
        return rows


def _tell(store: str, orphans: list[bytes]) -> None:
    _log.error(
        "store %s: %d messages are listed whose content is not there, as after a backup that was put back in part; "
        "they were taken off the list, the first is %s",
        *(store, len(orphans), id_text(orphans[0])),
    )
