"""Lanes for a transaction of the application: it can last long, and no other transaction must wait for its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import text

from ap4r.errors import StoreUnavailable
from ap4r.storage.access.statements import as_committed
from ap4r.storage.operations.lanes import UNUSED_AFTER, LaneName, Lanes, LaneTransaction

#: A lane that was used since then cannot be deleted before the transaction ends.
_SURELY_KEPT = UNUSED_AFTER // 2


class BorrowedLanes(Lanes):
    """Looks lanes up each time, because a transaction's reads are not valid after its rollback.

    Lanes are not marked as used, because that would lock the row until the transaction ends. A lane that may be deleted
    soon, because it has not been used for days, is kept by a shared lock.
    """

    def ids_of(self, tx: LaneTransaction, names: Iterable[LaneName]) -> dict[LaneName, int]:
        """Return the numbers of lanes, creating new ones."""
        wanted = sorted(set(names))
        lately = self._find.where(self._table.c.used_at > tx.now_at - _SURELY_KEPT)
        found = self._found(tx, wanted, lately)
        missing = [name for name in wanted if name not in found]
        if missing:
            found |= self._kept(tx, missing)
        return found

    def _kept(self, tx: LaneTransaction, names: Sequence[LaneName]) -> dict[LaneName, int]:
        """Return the numbers of lanes, creating new ones, and keep all of them until the end.

        :raises StoreUnavailable: they were created and deleted meanwhile.
        """
        found = self._found(tx, names)
        if found:
            # The other nodes of a cluster see no locks; only changes conflict with their changes, at COMMIT.
            found = self.mark(tx, found) if _is_cluster(tx) else self._still_there(tx, found)
        missing = [name for name in names if name not in found]
        if missing:
            self._make(tx, missing)
            found |= self._found(tx, missing)
            unseen = [name for name in missing if name not in found]
            if unseen:
                # Created by others after this transaction's snapshot, which only a locking read can see past.
                found |= self._found(tx, unseen, as_committed(self._find))
        if len(found) < len(names):
            raise StoreUnavailable(tx.store, "its lanes changed meanwhile; retry the transaction")
        return found


def _is_cluster(tx: LaneTransaction) -> bool:
    if tx.connection.dialect.name not in ("mysql", "mariadb"):
        return False
    found = tx.connection.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).all()
    return bool(found) and found[0][1] in ("ON", b"ON")
