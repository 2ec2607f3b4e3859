"""Lanes as a transaction of the application's may use them: it can last long, and nobody must wait for its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import text

from ap4r.errors import StoreUnavailable
from ap4r.storage.access.statements import as_committed
from ap4r.storage.operations.lanes import UNUSED_AFTER, LaneName, Lanes

if TYPE_CHECKING:
    from ap4r.storage.access.transaction import Transaction

#: A lane that was used since cannot be forgotten before the transaction ends.
_SURELY_KEPT = UNUSED_AFTER // 2


class BorrowedLanes(Lanes):
    """Looks lanes up each time: what a transaction has seen is worth nothing after its rollback.

    Lanes are not marked as used, for whoever marks a row holds it until the end. One that may be forgotten soon, as
    nobody has used it for days, is kept by a lock that others can share.
    """

    def ids_of(self, tx: Transaction, names: Iterable[LaneName]) -> dict[LaneName, int]:
        """Give the numbers of lanes, making those that are new."""
        wanted = sorted(set(names))
        lately = self._find.where(self._table.c.used_at > tx.now_at - _SURELY_KEPT)
        found = self._found(tx, wanted, lately)
        missing = [name for name in wanted if name not in found]
        if missing:
            found |= self._kept(tx, missing)
        return found

    def _kept(self, tx: Transaction, names: Sequence[LaneName]) -> dict[LaneName, int]:
        """Give the numbers of lanes, making those that are new, and keep all until the end.

        :raises StoreUnavailable: they came and went meanwhile.
        """
        found = self._found(tx, names)
        if found:
            # The other nodes of a cluster see no locks; what they change meets our changes alone, at the COMMIT.
            found = self.mark(tx, found) if _is_cluster(tx) else self._still_there(tx, found)
        missing = [name for name in names if name not in found]
        if missing:
            self._make(tx, missing)
            found |= self._found(tx, missing)
            unseen = [name for name in missing if name not in found]
            if unseen:
                # Made by others since this transaction took its snapshot, past which only a lock lets look.
                found |= self._found(tx, unseen, as_committed(self._find))
        if len(found) < len(names):
            raise StoreUnavailable(tx.store, "its lanes changed meanwhile; try again")
        return found


def _is_cluster(tx: Transaction) -> bool:
    if tx.connection.dialect.name not in ("mysql", "mariadb"):
        return False
    found = tx.connection.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).all()
    return bool(found) and found[0][1] in ("ON", b"ON")
