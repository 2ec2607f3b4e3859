"""Rows that say where a message stands, of one that is not there: a backup put back in part leaves them."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from functools import partial

from ap4r.storage.sql.rows import id_text
from ap4r.storage.sql.transaction import Transaction

_log = logging.getLogger("ap4r.storage")


def set_aside(tx: Transaction, leased: Iterable[bytes], messages: Container[bytes]) -> None:
    """Remove the leases whose messages are not there, and tell of them once they are gone.

    There is nothing left of such a message that could be delivered, and one of them must not hold up all others.
    """
    orphans = [stored_id for stored_id in leased if stored_id not in messages]
    if orphans:
        tx.delete(tx.schema.leased, [{"id": orphan} for orphan in orphans])
        tx.after_commit.append(partial(_tell, tx.store, orphans))


def _tell(store: str, orphans: list[bytes]) -> None:
    _log.error(
        "store %s: %d messages are listed whose content is not there, as after a backup that was put back in part; "
        "they were taken off the list, the first is %s",
        *(store, len(orphans), id_text(orphans[0])),
    )
