"""settle: what became of leased messages is written down once, for leases that are still the caller's."""

from __future__ import annotations

import pytest

from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Dead, Delivered, Dropped, PutBack, Reason, RetryLater
from ap4r.storage.store import SettleResult
from tests.support.factories import (
    NOW,
    bury,
    claim,
    claimed,
    counts,
    dead,
    dispatcher,
    failure,
    message,
    messages,
    put,
    retry,
    settle,
)

SETTLED, LOST = SettleResult.SETTLED, SettleResult.LEASE_LOST


def counters(lease):
    """Return the counters of a message."""
    return (lease.attempt, lease.failures, lease.crashes)


class TestOutcomes:
    @pytest.mark.parametrize("outcome", [Delivered(), Delivered(204, 1.5), Dropped(failure())])
    def test_what_is_done_is_gone(self, store, outcome):
        """A message that was delivered, or dropped as agreed, is never claimed again."""
        lease = claimed(store, message())
        assert settle(store, (lease, outcome)) == [SETTLED]
        assert claim(store, "one", now=NOW + 1e6) == []
        assert counts(store) == (0, 0, 0, 0)
        assert store.dead() == []

    def test_retry_later(self, store):
        """A message to be retried waits for the given delay."""
        lease = claimed(store, message())
        assert settle(store, (lease, retry(30.0)), now=NOW + 5) == [SETTLED]
        assert counts(store, now=NOW + 6) == (0, 1, 0, 0)
        assert claim(store, "one", now=NOW + 34.9) == []
        [again] = claim(store, "one", now=NOW + 35)
        assert again.message == lease.message

    @pytest.mark.parametrize("wait_seconds", [0.0, -1.0])
    def test_retry_at_once(self, store, wait_seconds):
        """Without a wait a message is due again at once, at its old place."""
        first, second = message(), message()
        lease = claimed(store, first)
        put(store, second, now=NOW + 1)
        settle(store, (lease, retry(wait_seconds)), now=NOW + 2)
        assert [one.message.id for one in claim(store, "one", now=NOW + 2)] == [first.id, second.id]

    def test_retry_in_the_far_future(self, store):
        """A wait without end is no error."""
        lease = claimed(store, message())
        assert settle(store, (lease, retry(float("inf")))) == [SETTLED]
        assert claim(store, "one", now=NOW + 1e9) == []

    @pytest.mark.parametrize("outcome", [PutBack(), PutBack(failure(Reason.CONNECT_FAILED, status=None))])
    def test_put_back(self, store, outcome):
        """A message that was not called is due again at once, and its attempt is given back."""
        lease = claimed(store, message())
        assert settle(store, (lease, outcome)) == [SETTLED]
        [again] = claim(store, "one")
        assert counters(again) == counters(lease) == (1, 0, 0)

    def test_dead(self, store):
        """A message that is given up is kept for a person and never claimed."""
        lease = claimed(store, message())
        outcome = Dead(Reason.GONE, failure(Reason.GONE, status=410, detail="no longer"), counts=True)
        assert settle(store, (lease, outcome), now=NOW + 2) == [SETTLED]
        assert claim(store, "one", now=NOW + 1e6) == []
        [letter] = store.dead()
        assert letter.message == lease.message
        assert (letter.reason, letter.status, letter.detail) == (Reason.GONE, 410, "no longer")
        assert (letter.attempt, letter.failures, letter.called) == (1, 1, True)
        assert letter.died_at == pytest.approx(NOW + 2)
        assert letter.stored_at == pytest.approx(NOW)

    def test_dead_without_a_call(self, store):
        """A message that died uncalled has no attempt more than calls were begun."""
        lease = claimed(store, message())
        settle(store, (lease, Dead(Reason.EXPIRED, called=False)))
        [letter] = store.dead()
        assert (letter.attempt, letter.failures, letter.called) == (0, 0, False)
        assert (letter.reason, letter.status, letter.detail) == (Reason.EXPIRED, None, "")

    @pytest.mark.parametrize("reason", list(Reason))
    def test_every_reason(self, store, reason):
        """Each reason that an attempt can have is kept, with an attempt and with a dead letter."""
        lease = claimed(store, message())
        settle(store, (lease, RetryLater(failure(reason), 0.0, counts=True)))
        [lease] = claim(store, "one")
        settle(store, (lease, Dead(reason, failure(reason))))
        [letter] = store.dead()
        assert letter.reason is reason

    @pytest.mark.parametrize("delivery", list(Delivery))
    @pytest.mark.parametrize("outcome", [Delivered(), Dropped(failure()), PutBack(), retry(), dead()])
    def test_the_store_judges_nothing(self, store, delivery, outcome):
        """Any outcome is written down for any delivery rule."""
        lease = claimed(store, message(delivery=delivery))
        assert settle(store, (lease, outcome)) == [SETTLED]


class TestCounters:
    def test_calls_are_counted_and_never_uncounted(self, store):
        """`attempt` counts the calls that were begun: a retry keeps it, what was put back does not add to it."""
        lease = claimed(store, message())
        seen = [lease.attempt]
        for outcome in (retry(0.0), PutBack(), retry(0.0, counts=False), PutBack(), PutBack(), retry(0.0)):
            settle(store, (lease, outcome))
            [lease] = claim(store, "one")
            seen.append(lease.attempt)
        assert seen == [1, 2, 2, 3, 3, 3, 4]

    def test_failures_are_counted_when_they_count(self, store):
        """`failures` grows with what counts against max_deliveries only."""
        lease = claimed(store, message())
        seen = [lease.failures]
        for outcome in (retry(0.0), retry(0.0, counts=False), PutBack(), retry(0.0)):
            settle(store, (lease, outcome))
            [lease] = claim(store, "one")
            seen.append(lease.failures)
        assert seen == [0, 1, 1, 1, 2]

    @pytest.mark.parametrize("wait_seconds", [0.0, 5.0])
    def test_counters_survive_every_state(self, store, wait_seconds):
        """Counters go with the message through ready, scheduled, leased and dead."""
        lease = claimed(store, message())
        now = NOW
        for _ in range(30):
            settle(store, (lease, retry(wait_seconds)), now=now)
            now += wait_seconds
            [lease] = claim(store, "one", now=now)
        assert counters(lease) == (31, 30, 0)
        settle(store, (lease, dead()), now=now)
        [letter] = store.dead()
        assert (letter.attempt, letter.failures) == (31, 31)


class TestTokens:
    def test_a_lease_is_settled_once(self, store):
        """Settling again, with the same or another outcome, changes nothing."""
        lease = claimed(store, message())
        assert settle(store, (lease, retry(10.0))) == [SETTLED]
        assert settle(store, (lease, retry(10.0))) == [LOST]
        assert settle(store, (lease, dead())) == [LOST]
        assert counts(store) == (0, 1, 0, 0)

    @pytest.mark.parametrize("outcome", [Delivered(), Dropped(failure()), PutBack(), retry(), dead()])
    def test_a_stale_lease_changes_nothing(self, store, outcome):
        """After a message was claimed again, its old lease changes nothing, whatever its outcome."""
        old = claimed(store, message())
        store.unregister("one", now=NOW)
        [new] = claim(store, dispatcher(store, "two"))
        assert settle(store, (old, outcome)) == [LOST]
        assert counts(store) == (0, 0, 1, 0)
        assert settle(store, (new, Delivered())) == [SETTLED]

    def test_a_forged_token_changes_nothing(self, store):
        """An id alone settles nothing."""
        lease = claimed(store, message())
        assert settle(store, (lease._replace(token=b"\0" * 16), Delivered())) == [LOST]
        assert counts(store) == (0, 0, 1, 0)

    @pytest.mark.parametrize("state", ["ready", "scheduled", "dead", "gone"])
    def test_what_is_not_leased_is_lost(self, store, state):
        """A lease of a message that is not leased any more is lost, in every state of the message."""
        one = message()
        lease = claimed(store, one)
        outcome = {"ready": PutBack(), "scheduled": retry(), "dead": dead(), "gone": Delivered()}[state]
        settle(store, (lease, outcome))
        before = counts(store)
        assert settle(store, (lease, Delivered())) == [LOST]
        assert counts(store) == before

    def test_a_lease_twice_in_one_batch(self, store):
        """Of a lease that is named twice the first outcome counts."""
        lease = claimed(store, message())
        assert settle(store, (lease, retry(10.0)), (lease, Delivered())) == [SETTLED, LOST]
        assert counts(store) == (0, 1, 0, 0)

    def test_some_leases_of_several_claims(self, store):
        """A batch may hold leases of several claims; those of the same claims that are not in it stay as they are."""
        put(store, *messages(60))
        owner = dispatcher(store)
        leases = [lease for _ in range(3) for lease in claim(store, owner, 20)]
        assert len({lease.token for lease in leases}) == 3
        first, rest = leases[::2], leases[1::2]
        assert settle(store, *((lease, Delivered()) for lease in first)) == [SETTLED] * 30
        assert counts(store) == (0, 0, 30, 0)
        assert settle(store, *((lease, Delivered()) for lease in reversed(rest))) == [SETTLED] * 30
        assert counts(store) == (0, 0, 0, 0)

    def test_old_and_new_lease_in_one_batch(self, store):
        """Of two leases of one message the one that is held counts, in whatever order they come."""
        old = claimed(store, message())
        settle(store, (old, PutBack()))
        [new] = claim(store, "one")
        assert settle(store, (old, dead()), (new, Delivered()), (old, dead())) == [LOST, SETTLED, LOST]
        assert store.dead() == []

    def test_any_store_of_the_database_settles(self, store, open_store):
        """The token is what counts, not the process that claimed."""
        lease = claimed(store, message())
        assert settle(open_store(), (lease, Delivered())) == [SETTLED]
        assert counts(store) == (0, 0, 0, 0)


class TestBatches:
    def test_an_empty_batch(self, store):
        """Nothing to settle is no error."""
        assert store.settle([], now=NOW) == []

    def test_answers_come_in_the_order_given(self, store):
        """Each answer stands where its settlement stood."""
        put(store, *messages(60))
        leases = claim(store, dispatcher(store))
        gone = leases[::3]
        settle(store, *((lease, Delivered()) for lease in gone))
        answers = settle(store, *((lease, Delivered()) for lease in reversed(leases)))
        assert answers == [LOST if lease in gone else SETTLED for lease in reversed(leases)]

    def test_a_thousand_in_one_batch(self, store):
        """A large batch with every outcome is settled as a whole."""
        put(store, *messages(1_000))
        leases = claim(store, dispatcher(store), 1_000)
        outcomes = [Delivered(), retry(60.0), PutBack(), dead(), Dropped(failure())]
        answers = settle(store, *((lease, outcomes[number % 5]) for number, lease in enumerate(leases)))
        assert answers == [SETTLED] * 1_000
        assert counts(store) == (200, 200, 0, 200)

    def test_a_batch_of_many_lanes_and_owners(self, store):
        """Leases of several lanes and dispatchers may be settled together."""
        put(store, *messages(5, "queue.a"), *messages(5, "queue.b"))
        first = claim(store, dispatcher(store, "one"), 4)
        second = claim(store, dispatcher(store, "two"), 10)
        assert settle(store, *((lease, Delivered()) for lease in second + first)) == [SETTLED] * 10
        assert store.status(now=NOW).queues == ()


class TestText:
    @pytest.mark.parametrize(
        "text",
        [
            "x" * 1_000_000,
            "🦊" * 100_000,
            "aé🦊" * 50_000,
            "\0" * 10_000,
            "\ud800 half a character \udfff" * 1_000,
            "\r\n\t\x1b[31m\x07",
            "'; DROP TABLE ap4r_dead; --",
        ],
        ids=["long", "wide", "mixed", "nul", "surrogates", "control", "sql"],
    )
    @pytest.mark.parametrize("outcome", ["retry", "dead"])
    def test_bookkeeping_is_cut_and_never_refused(self, store, text, outcome):
        """No text keeps a message from being settled; what is kept of it is a beginning of it."""
        lease = claimed(store, message())
        happened = failure(detail=text)
        if outcome == "retry":
            assert settle(store, (lease, RetryLater(happened, 0.0, counts=True))) == [SETTLED]
            return
        assert settle(store, (lease, Dead(Reason.STATUS, happened))) == [SETTLED]
        [letter] = store.dead()
        sound = text.encode("utf-8", "replace").decode()
        assert sound.startswith(letter.detail)
        assert len(letter.detail) >= min(len(sound), 500)
        assert len(letter.detail.encode()) <= 64 * 1_024

    @pytest.mark.parametrize("seconds", [0.0, -1.0, 1e300, float("inf"), float("nan")])
    @pytest.mark.parametrize("outcome", [RetryLater, Dead])
    def test_no_duration_is_refused(self, store, seconds, outcome):
        """However odd a measured time is, the message is settled."""
        lease = claimed(store, message())
        happened = failure(seconds=seconds)
        settlement = Dead(Reason.STATUS, happened) if outcome is Dead else RetryLater(happened, 0.0, counts=True)
        assert settle(store, (lease, settlement)) == [SETTLED]

    def test_short_text_is_kept_whole(self, store):
        """What an answer said in a few words is there for a person, character by character."""
        lease = claimed(store, message())
        settle(store, (lease, Dead(Reason.STATUS, failure(detail="naïve 🦊\n'quoted'"))))
        assert store.dead()[0].detail == "naïve 🦊\n'quoted'"


def test_many_attempts_of_one_instant(store):
    """Attempts that end in the same microsecond are no conflict."""
    lease = claimed(store, message())
    for _ in range(5):
        assert settle(store, (lease, retry(0.0))) == [SETTLED]
        [lease] = claim(store, "one")
    assert lease.attempt == 6


def test_a_buried_message_can_die_again(store):
    """A replayed message can become a dead letter again."""
    one = message()
    bury(store, one)
    store.replay([one.id], now=NOW)
    [lease] = claim(store, dispatcher(store))
    assert settle(store, (lease, dead())) == [SETTLED]
    assert [letter.message.id for letter in store.dead()] == [one.id]
