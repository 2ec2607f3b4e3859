"""Lanes as a transaction of the application's may use them: it can last long, and nobody must wait for its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ap4r.storage.sql.lanes import UNUSED_AFTER, LaneName, Lanes

if TYPE_CHECKING:
    from ap4r.storage.sql.transaction import Transaction

#: A lane that was used since cannot be forgotten before the transaction ends.
_SURELY_KEPT = UNUSED_AFTER // 2


class BorrowedLanes(Lanes):
    """Looks lanes up each time: what a transaction has seen is worth nothing after its rollback.

    Lanes are not marked as used, for whoever marks a row holds it until the end. One that may be forgotten soon is
    kept by a lock that others can share.
    """

    def ids_of(self, tx: Transaction, names: Iterable[LaneName]) -> dict[LaneName, int]:
        """Give the numbers of lanes, making those that are new."""
        wanted = sorted(set(names))
        found = self.used_since(tx, wanted, tx.now_at - _SURELY_KEPT)
        missing = [name for name in wanted if name not in found]
        if missing:
            found |= self.kept(tx, missing)
        return found
