"""put with `each`: what an intake is given, where every message's own id makes a repeat harmless."""

from __future__ import annotations

import pytest

from ap4r.errors import MessageConflict
from ap4r.message.message import Put, new_id
from ap4r.outcome.outcome import Delivered
from tests.support.factories import NOW, claim, counts, dispatcher, message, messages, settle

DAY = 86_400


def put_each(store, *described, now=NOW):
    """Store messages as an intake does, in a put that is not repeated."""
    store.put(Put(new_id(), described, each=True), now=now)


def delivered(store, described):
    """Store a message as an intake does, and deliver it."""
    put_each(store, described)
    [lease] = claim(store, dispatcher(store))
    settle(store, (lease, Delivered()))


class TestRepeats:
    def test_a_message_that_comes_again_is_delivered_once(self, store):
        """The same message in another put changes nothing."""
        one = message()
        put_each(store, one)
        put_each(store, one, now=NOW + 1)
        assert counts(store) == (1, 0, 0, 0)

    @pytest.mark.parametrize("seconds", [0, 900, DAY - 1])
    def test_a_message_is_remembered_after_its_delivery(self, store, seconds):
        """For `intake_memory_seconds` a repeat changes nothing, pruning or not."""
        one = message()
        delivered(store, one)
        store.prune(now=NOW + seconds)
        put_each(store, one, now=NOW + seconds)
        assert counts(store, now=NOW + seconds) == (0, 0, 0, 0)

    def test_a_message_is_forgotten_at_last(self, store):
        """After that time pruning forgets both of what was remembered."""
        one = message()
        delivered(store, one)
        assert store.prune(now=NOW + DAY + 1) >= 2
        put_each(store, one._replace(body=b"other"), now=NOW + DAY + 1)
        assert counts(store, now=NOW + DAY + 1) == (1, 0, 0, 0)

    def test_what_is_new_beside_a_repeat_is_stored(self, store):
        """A put of which a part came before stores the other part."""
        one, two = messages(2)
        put_each(store, one)
        put_each(store, one, two)
        assert counts(store) == (2, 0, 0, 0)

    def test_the_same_message_twice_in_a_put_is_one(self, store):
        """A put that holds a message twice stores it once."""
        one = message()
        put_each(store, one, one)
        assert counts(store) == (1, 0, 0, 0)

    def test_the_trace_makes_no_difference(self, store):
        """A repeat within another trace is a repeat."""
        one = message(trace_id="1" * 32)
        put_each(store, one)
        put_each(store, one._replace(trace_id="2" * 32))
        assert counts(store) == (1, 0, 0, 0)


class TestConflicts:
    @pytest.mark.parametrize("change", [{"body": b"other"}, {"queue": "queue.b"}, {"delay_seconds": 5.0}])
    def test_the_same_id_with_other_content_is_refused(self, store, change):
        """An id that was used for something else is an error, and nothing of that put is stored."""
        one = message()
        put_each(store, one)
        with pytest.raises(MessageConflict, match=one.id):
            put_each(store, message(), one._replace(**change))
        assert counts(store) == (1, 0, 0, 0)

    def test_also_after_the_first_was_delivered(self, store):
        """What the id was used for is remembered beyond the delivery."""
        one = message()
        delivered(store, one)
        with pytest.raises(MessageConflict):
            put_each(store, one._replace(body=b"other"), now=NOW + 1_000)


class TestTogether:
    def test_several_puts_are_stored_in_one_call(self, store):
        """Every put of the call is stored."""
        puts = [Put(new_id(), (one,), each=True) for one in messages(5)]
        assert store.put_together(puts) == [None] * 5
        assert counts(store) == (5, 0, 0, 0)

    def test_each_put_has_its_own_answer(self, store):
        """One that cannot be stored keeps no other from it."""
        one, two, three = messages(3)
        put_each(store, one, now=None)
        puts = [Put(new_id(), (each,), each=True) for each in (two, one._replace(body=b"other"), three)]
        first, second, third = store.put_together(puts)
        assert (first, third) == (None, None)
        assert isinstance(second, MessageConflict)
        assert counts(store) == (3, 0, 0, 0)

    def test_no_puts_are_no_work(self, store):
        """An empty call has an empty answer."""
        assert store.put_together([]) == []
