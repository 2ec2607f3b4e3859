"""A commit of the application's own in the block of once()."""

from __future__ import annotations

import pytest

from ap4r.errors import TransactionLost
from tests.integration.inbox.effects_table import Receiver, delivery


def test_what_was_said_before_it_is_committed_with_the_record(effects_table):
    """The record, the effect and the message stay together, although the call fails; the repeat does nothing more."""
    receiver = Receiver(effects_table, once=["/async/*"])

    def commit_early(handle, conn, one):
        handle.async_to("/said")
        conn.commit()

    receiver.within = commit_early
    with pytest.raises(TransactionLost, match="within the block"):
        receiver.receive(delivery())
    assert (effects_table.effects, effects_table.records, effects_table.messages) == ([1], 1, 1)
    assert receiver.receive(delivery())[0] == 204
    assert (receiver.calls, effects_table.effects, effects_table.messages) == (1, [1], 1)
