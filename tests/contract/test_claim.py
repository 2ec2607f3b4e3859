"""claim: due messages go to one dispatcher each, oldest first within a lane, the lanes in turn."""

from __future__ import annotations

from collections import Counter

import pytest

from ap4r.errors import OwnerLost
from ap4r.message.message import Delivery
from ap4r.outcome.outcome import Delivered, PutBack
from tests.support.factories import (
    NOW,
    claim,
    claimed,
    counts,
    dispatcher,
    ids,
    message,
    messages,
    put,
    retry,
    settle,
)


def fill(store, lanes, each):
    """Store `each` messages in each of so many lanes, q0, q1 … being their queues."""
    put(store, *(message(f"q{number}") for _ in range(each) for number in range(lanes)))


def share(leases):
    """Count leases by queue."""
    return Counter(lease.message.queue for lease in leases)


def lane_of(store, queue):
    """Return the number of a queue's lane; there is one."""
    [lane] = [lane for lane, (name, _) in store.lanes(range(1, 200)).items() if name == queue]
    return lane


class TestOrder:
    def test_the_oldest_of_a_lane_comes_first(self, store):
        """Messages of one lane are claimed in the order in which they fell due."""
        described = messages(5)
        for second, one in enumerate(described):
            put(store, one, now=NOW + second)
        found = claim(store, dispatcher(store), now=NOW + 10)
        assert ids(found) == [one.id for one in described]

    def test_one_put_keeps_its_order(self, store):
        """Messages of one put, made one after the other, are claimed in that order."""
        described = messages(50)
        put(store, *described)
        assert ids(claim(store, dispatcher(store))) == [one.id for one in described]

    def test_what_fell_due_later_comes_later(self, store):
        """A delayed message stands where its due time puts it, not where its put would have."""
        delayed, early, late = message(delay_seconds=10), message(), message()
        put(store, delayed)
        put(store, early, now=NOW + 9)
        put(store, late, now=NOW + 11)
        assert ids(claim(store, dispatcher(store), now=NOW + 12)) == [early.id, delayed.id, late.id]

    def test_small_claims_go_on_where_the_last_one_ended(self, store):
        """Many claims of one give the same order as one claim of many."""
        described = messages(20)
        put(store, *described)
        owner = dispatcher(store)
        assert [ids(claim(store, owner, 1)) for _ in described] == [[one.id] for one in described]

    def test_what_was_put_back_keeps_its_place(self, store):
        """A message that was claimed but not called is again the first of its lane."""
        first, second = message(), message()
        put(store, first)
        put(store, second, now=NOW + 1)
        owner = dispatcher(store)
        [lease] = claim(store, owner, 1, now=NOW + 2)
        settle(store, (lease, PutBack()), now=NOW + 3)
        assert ids(claim(store, owner, now=NOW + 4)) == [first.id, second.id]


class TestTurns:
    def test_lanes_share_a_claim(self, store):
        """Lanes that are all full get the same."""
        fill(store, lanes=4, each=20)
        assert share(claim(store, dispatcher(store), 40)) == {f"q{number}": 10 for number in range(4)}

    def test_a_long_queue_does_not_stand_before_a_short_one(self, store):
        """A message that comes last is claimed at once where the crowd is in another lane."""
        put(store, *messages(500, "crowd"))
        put(store, message("lonely"), now=NOW + 100)
        assert share(claim(store, dispatcher(store), 10, now=NOW + 100)) == {"crowd": 9, "lonely": 1}

    def test_what_a_short_lane_leaves_goes_to_the_others(self, store):
        """A claim is filled up from the lanes that have more."""
        put(store, *messages(2, "short"), *messages(50, "long"), *messages(50, "longer"))
        found = share(claim(store, dispatcher(store), 60))
        assert found["short"] == 2
        assert found["long"] + found["longer"] == 58
        assert min(found["long"], found["longer"]) >= 20

    def test_what_remains_is_filled_in_order(self, store):
        """Also what fills a claim up is the oldest of its lane, and nothing is given twice or left out."""
        described = messages(30, "long")
        put(store, *described, message("a"), message("b"), message("c"))
        found = claim(store, dispatcher(store), 24)
        assert ids(lease for lease in found if lease.message.queue == "long") == [one.id for one in described[:21]]

    @pytest.mark.parametrize(("lanes", "limit"), [(3, 1), (3, 2), (5, 2), (5, 4), (7, 3)])
    def test_more_lanes_than_room(self, store, lanes, limit):
        """When a claim has no room for every lane, the next one begins behind the last: each has its turn."""
        fill(store, lanes, each=limit)
        owner = dispatcher(store)
        total = Counter()
        for _ in range(lanes):
            found = share(claim(store, owner, limit))
            assert set(found.values()) == {1}
            total += found
        assert set(total.values()) == {limit}

    @pytest.mark.parametrize(("lanes", "limit"), [(3, 4), (3, 5), (7, 10), (10, 64)])
    def test_the_remainder_goes_round(self, store, lanes, limit):
        """What cannot be shared evenly falls to another lane each time, so that over the claims all get the same."""
        fill(store, lanes, each=limit + lanes)
        owner = dispatcher(store)
        total = Counter()
        for _ in range(lanes):
            total += share(claim(store, owner, limit))
        assert max(total.values()) - min(total.values()) <= 1

    def test_a_new_lane_is_not_forgotten(self, store):
        """A lane that is filled after the claims have begun is served with the next round."""
        fill(store, lanes=3, each=30)
        owner = dispatcher(store)
        claim(store, owner, 2)
        put(store, message("new"))
        rounds = [share(claim(store, owner, 2)) for _ in range(2)]
        assert sum(found["new"] for found in rounds) == 1


class TestLimit:
    def test_no_more_than_the_limit(self, store):
        """A claim gives at most as many as were asked for, and says that there may be more."""
        put(store, *messages(5))
        found = store.claim(dispatcher(store), 3, now=NOW)
        assert len(found.leases) == 3
        assert found.more

    def test_fewer_than_the_limit_is_all(self, store):
        """A claim that was not filled says so."""
        put(store, *messages(3))
        found = store.claim(dispatcher(store), 4, now=NOW)
        assert len(found.leases) == 3
        assert not found.more

    def test_an_empty_store_gives_nothing(self, store):
        """A claim of nothing is no error."""
        found = store.claim(dispatcher(store), 10, now=NOW)
        assert (found.leases, found.more, found.next_due_in_seconds) == ((), False, None)

    def test_a_limit_of_none_takes_nothing(self, store):
        """Without room nothing is leased."""
        put(store, message())
        found = store.claim(dispatcher(store), 0, now=NOW)
        assert (found.leases, found.more) == ((), False)
        assert counts(store) == (1, 0, 0, 0)

    def test_a_thousand_at_once(self, store):
        """Large claims are whole."""
        put(store, *messages(600), *messages(400, "queue.b"))
        found = claim(store, dispatcher(store), 1_000)
        assert len(set(ids(found))) == 1_000


class TestExcluded:
    def test_excluded_lanes_give_nothing(self, store):
        """No message of a lane that is held is given, and the others get its share."""
        fill(store, lanes=3, each=10)
        held = lane_of(store, "q1")
        found = claim(store, dispatcher(store), 30, excluded={held})
        assert share(found) == {"q0": 10, "q2": 10}

    def test_all_excluded(self, store):
        """With every lane held a claim is empty, and says that there is no more."""
        fill(store, lanes=3, each=2)
        found = store.claim(dispatcher(store), 30, excluded=list(store.lanes(range(1, 50))), now=NOW)
        assert (found.leases, found.more) == ((), False)

    def test_released_lanes_give_again(self, store):
        """What is held in one claim is free in the next."""
        fill(store, lanes=2, each=2)
        owner = dispatcher(store)
        held = lane_of(store, "q0")
        assert share(claim(store, owner, excluded=[held])) == {"q1": 2}
        assert share(claim(store, owner)) == {"q0": 2}

    def test_lanes_that_are_unknown_do_no_harm(self, store):
        """Excluding what does not exist excludes nothing."""
        fill(store, lanes=2, each=1)
        assert len(claim(store, dispatcher(store), excluded=range(1_000, 1_200))) == 2

    @pytest.mark.parametrize("held", [1, 5, 9])
    def test_turns_among_the_free(self, store, held):
        """Lanes that are not held have their turns, however many are."""
        fill(store, lanes=10, each=4)
        names = store.lanes(range(1, 50))
        excluded = {lane for lane, (queue, _) in names.items() if int(queue[1:]) < held}
        owner = dispatcher(store)
        total = Counter()
        for _ in range(10 - held):
            total += share(claim(store, owner, 2, excluded=excluded))
        assert set(total) == {f"q{number}" for number in range(held, 10)}
        assert max(total.values()) - min(total.values()) <= 1

    def test_a_lane_made_by_another_process_is_seen(self, store, open_store):
        """With lanes held, messages of a lane that was made meanwhile elsewhere are claimed too."""
        fill(store, lanes=2, each=1)
        owner = dispatcher(store)
        excluded = list(store.lanes(range(1, 50)))
        assert claim(store, owner, excluded=excluded) == []
        put(open_store(), message("new"))
        assert share(claim(store, owner, excluded=excluded)) == {"new": 1}

    def test_all_but_one_of_ten_thousand(self, store):
        """With 9,999 of 10,000 lanes held, the message of the free one is found."""
        for start in range(0, 10_000, 1_000):
            put(store, *(message(f"q{number}") for number in range(start, start + 1_000)))
        names = store.lanes(range(1, 10_001))
        assert len(names) == 10_000
        [free] = [lane for lane, (queue, _) in names.items() if queue == "q7777"]
        owner = dispatcher(store)
        assert share(claim(store, owner, excluded=set(names) - {free})) == {"q7777": 1}
        many = store.claim(owner, 10_000, now=NOW)
        assert many.leases and (many.more or len(many.leases) == 9_999), "the others' turn comes at once"


class TestYielding:
    def test_lanes_that_give_way_give_what_the_others_leave(self, store):
        """Where the others have enough, nothing; where not, the rest."""
        put(store, *messages(20, "slow"), *messages(6, "quick"))
        yielding = {lane_of(store, "slow")}
        owner = dispatcher(store)
        assert share(store.claim(owner, 5, yielding=yielding, now=NOW).leases) == {"quick": 5}
        assert share(store.claim(owner, 5, yielding=yielding, now=NOW).leases) == {"quick": 1, "slow": 4}
        assert share(store.claim(owner, 50, yielding=yielding, now=NOW).leases) == {"slow": 16}

    def test_no_more_than_what_they_may_give(self, store):
        """What they were not asked for makes a claim say that there is more."""
        put(store, *messages(20, "slow"), *messages(3, "quick"))
        yielding = {lane_of(store, "slow")}
        owner = dispatcher(store)
        found = store.claim(owner, 10, yielding=yielding, most_yielding=2, now=NOW)
        assert (share(found.leases), found.more) == ({"quick": 3, "slow": 2}, True)
        found = store.claim(owner, 10, yielding=yielding, most_yielding=0, now=NOW)
        assert (found.leases, found.more) == ((), True)
        found = store.claim(owner, 30, yielding=yielding, most_yielding=20, now=NOW)
        assert (share(found.leases), found.more) == ({"slow": 18}, False)

    def test_where_all_give_way_none_waits(self, store):
        """It is an order among lanes, and no limit."""
        fill(store, lanes=3, each=4)
        found = store.claim(dispatcher(store), 12, yielding=set(range(1, 200)), now=NOW)
        assert share(found.leases) == {"q0": 4, "q1": 4, "q2": 4}

    def test_what_is_excluded_gives_nothing_here_either(self, store):
        """A lane that is held and gives way is held."""
        put(store, *messages(3, "held"), *messages(3, "slow"))
        held, slow = lane_of(store, "held"), lane_of(store, "slow")
        found = store.claim(dispatcher(store), 10, excluded={held}, yielding={held, slow}, now=NOW)
        assert share(found.leases) == {"slow": 3}

    def test_each_kind_has_its_turns(self, store):
        """With room for one message at a time no lane of either kind is passed over."""
        fill(store, lanes=6, each=4)
        yielding = {lane_of(store, f"q{number}") for number in (1, 3, 5)}
        owner, total = dispatcher(store), Counter()
        for _ in range(12):
            total += share(store.claim(owner, 1, yielding=yielding, now=NOW).leases)
        assert total == {"q0": 4, "q2": 4, "q4": 4}
        for _ in range(6):
            total += share(store.claim(owner, 1, yielding=yielding, now=NOW).leases)
        assert {total[f"q{number}"] for number in (1, 3, 5)} == {2}

    def test_one_lane_among_hundreds_that_give_way(self, store):
        """It is found first, though all of the others are full and stand before it."""
        put(store, *(message(f"q{number}") for number in range(300)), message("lonely"))
        yielding = {lane for lane, (queue, _) in store.lanes(range(1, 1_000)).items() if queue != "lonely"}
        found = store.claim(dispatcher(store), 4, yielding=yielding, now=NOW)
        assert share(found.leases)["lonely"] == 1
        assert len(found.leases) == 4


class TestDue:
    def test_due_messages_are_promoted(self, store):
        """Scheduled messages are claimed as soon as they are due, by the claim that comes first."""
        put(store, *messages(3, delay_seconds=5), *messages(2, delay_seconds=50))
        owner = dispatcher(store)
        assert len(claim(store, owner, now=NOW + 5)) == 3
        assert counts(store, now=NOW + 5) == (0, 2, 3, 0)

    def test_many_fall_due_at_once(self, store):
        """However many fall due together, claims that follow each other give all of them."""
        put(store, *messages(1_000, delay_seconds=5))
        owner = dispatcher(store)
        found = store.claim(owner, 10, now=NOW + 5)
        assert len(found.leases) == 10
        total = 10
        while found.leases:
            found = store.claim(owner, 300, now=NOW + 5)
            total += len(found.leases)
        assert total == 1_000

    def test_the_next_due_time(self, store):
        """A claim tells when the next scheduled message is due."""
        put(store, message(delay_seconds=30), message(delay_seconds=7.5))
        owner = dispatcher(store)
        assert store.claim(owner, 10, now=NOW).next_due_in_seconds == pytest.approx(7.5)
        assert store.claim(owner, 10, now=NOW + 10).next_due_in_seconds == pytest.approx(20.0)
        assert store.claim(owner, 10, now=NOW + 30).next_due_in_seconds is None

    def test_a_retry_waits(self, store):
        """A message that is to be repeated later is claimed later, and no earlier."""
        lease = claimed(store, message())
        settle(store, (lease, retry(60.0)))
        assert claim(store, "one", now=NOW + 59.9) == []
        assert len(claim(store, "one", now=NOW + 60)) == 1

    def test_held_lanes_fall_due_too(self, store):
        """Due messages of a held lane delay no other lane's messages."""
        put(store, *messages(300, "held", delay_seconds=5), message("free", delay_seconds=6))
        owner = dispatcher(store)
        excluded = [lane_of(store, "held")]
        found = []
        for _ in range(3):
            found += claim(store, owner, 10, excluded=excluded, now=NOW + 10)
        assert share(found) == {"free": 1}


class TestLease:
    def test_attempts_are_counted_before_the_call(self, store):
        """The claim counts the call that is about to be made, 1 being the first."""
        lease = claimed(store, message())
        assert (lease.attempt, lease.failures, lease.crashes) == (1, 0, 0)
        settle(store, (lease, retry(0.0)))
        [lease] = claim(store, "one")
        assert (lease.attempt, lease.failures, lease.crashes) == (2, 1, 0)

    def test_each_lease_has_a_token(self, store):
        """A message that is claimed again has another token."""
        lease = claimed(store, message())
        settle(store, (lease, PutBack()))
        [again] = claim(store, "one")
        assert again.token != lease.token
        assert len(again.token) == 16

    def test_age_counts_from_the_first_due_time(self, store):
        """A message's age is what has passed since it was first due, retries included."""
        lease = claimed(store, message())
        assert lease.age_seconds == pytest.approx(0.0)
        settle(store, (lease, retry(100.0)))
        [lease] = claim(store, "one", now=NOW + 130)
        assert lease.age_seconds == pytest.approx(130.0)

    def test_a_delay_is_no_age(self, store):
        """A delayed message is young when it falls due."""
        put(store, message(delay_seconds=1_000))
        [lease] = claim(store, dispatcher(store), now=NOW + 1_003)
        assert lease.age_seconds == pytest.approx(3.0)

    def test_history_goes_on_with_time(self, store):
        """The facts for a judgement are those of the claim, moved on by the time since."""
        lease = claimed(store, message(delivery=Delivery.ONCE, expires_seconds=30.0, max_deliveries=4))
        history = lease.history(12.0)
        assert history.delivery is Delivery.ONCE
        assert (history.attempt, history.failures, history.crashes, history.max_deliveries) == (1, 0, 0, 4)
        assert history.age_seconds == pytest.approx(12.0)
        assert history.expires_in_seconds == pytest.approx(18.0)

    def test_what_is_expired_is_given_all_the_same(self, store):
        """The store judges nothing: an expired message is claimed, and who claimed it decides."""
        put(store, message(expires_seconds=5.0))
        [lease] = claim(store, dispatcher(store), now=NOW + 6)
        assert lease.expires_in_seconds == pytest.approx(-1.0)

    def test_the_lane_names_queue_and_origin(self, store):
        """A lease's lane is found in the directory."""
        lease = claimed(store, message("queue.b", url="http://b.example:81/x?y", upstream=None))
        assert store.lanes([lease.lane]) == {lease.lane: ("queue.b", "http://b.example:81")}


class TestOwner:
    def test_a_claim_is_a_beat(self, store):
        """A claim moves the owner's counter, whether it brings anything or not."""
        owner = dispatcher(store)
        [before] = store.look(now=NOW).beats
        claim(store, owner)
        [after] = store.look(now=NOW).beats
        assert after.beat > before.beat

    def test_an_unknown_owner_is_refused(self, store):
        """Who is not registered claims nothing."""
        put(store, message())
        with pytest.raises(OwnerLost) as caught:
            store.claim("unknown", 10, now=NOW)
        assert caught.value.owner == "unknown"
        assert counts(store) == (1, 0, 0, 0)

    def test_who_was_rescued_is_refused(self, store):
        """A dispatcher that was considered dead gets an error from its next claim."""
        owner = dispatcher(store)
        put(store, message())
        claim(store, owner)
        [beat] = store.look(now=NOW).beats
        store.rescue(owner, beat.beat, now=NOW)
        with pytest.raises(OwnerLost):
            store.claim(owner, 10, now=NOW)

    def test_two_dispatchers_share(self, store, open_store):
        """What one dispatcher holds is not given to another, and what it settled is gone."""
        put(store, *messages(10))
        other = open_store()
        one, two = dispatcher(store), dispatcher(other, "two")
        first = claim(store, one, 6)
        second = claim(other, two, 6)
        assert len(first) == 6
        assert len(second) == 4
        assert not set(ids(first)) & set(ids(second))
        settle(store, *((lease, Delivered()) for lease in first))
        assert claim(other, two) == []
