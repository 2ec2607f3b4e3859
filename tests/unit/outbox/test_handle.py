"""The handle: blocks, threads, limits, commit and rollback."""

from __future__ import annotations

import gc
import threading

import pytest

from ap4r.errors import (
    ConnectionUnfit,
    HandleClosed,
    MessageError,
    OptionRefused,
    PayloadTooLarge,
    StoreUnavailable,
    TransactionOpen,
)
from ap4r.outbox.handle import Handle
from ap4r.outbox.pending import Verdict
from ap4r.outbox.sink import Writer
from ap4r.settings.settings import Settings
from tests.support.sink import MemorySink, unavailable


@pytest.fixture
def sink():
    """A store in memory."""
    return MemorySink()


@pytest.fixture
def handle(sink):
    """A handle with default limits."""
    return make_handle(sink)


def make_handle(sink, traceparent=None, **limits):
    """Create a handle that writes to a sink."""
    writer = Writer(sink)
    return Handle(lambda: writer, Settings(**limits), sink, traceparent)


def in_thread(work):
    """Run in a thread of its own, to its end."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_nothing_is_written_before_the_verdict(handle, sink):
    """The id is known at once, the message is stored with the verdict."""
    message_id = handle.async_to("/work")
    assert sink.calls == 0
    handle.conclude(Verdict.COMMIT)
    assert [message.id for message in sink.messages] == [message_id]


def test_one_verdict_writes_one_put_in_order(handle, sink):
    """All messages of a request are stored together, in the order in which they were said."""
    for number in range(5):
        handle.async_to(f"/work/{number}")
    handle.conclude(Verdict.COMMIT)
    assert len(sink.puts) == 1
    assert sink.paths == [f"/work/{number}" for number in range(5)]


def test_the_first_verdict_stands(handle, sink):
    """A second changes nothing."""
    handle.async_to("/work")
    handle.conclude(Verdict.ABORT)
    handle.conclude(Verdict.COMMIT)
    assert sink.calls == 0
    assert handle.closed


def test_bad_input_is_refused_at_once_and_the_rest_goes_on(handle, sink):
    """A refused message leaves no trace in the outbox."""
    for target, options in (
        ("ftp://x", {}),
        ("/work", {"headers": {"X": "a\r\nb"}}),
        ("/work", {"on": "maybe"}),
        ("/work", {"on": None}),
        ("/work", {"delay_seconds": -1}),
    ):
        with pytest.raises(MessageError):
            handle.async_to(target, **options)
    handle.async_to("/good")
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/good"]


def test_an_unknown_on_names_the_known(handle):
    """The error lists what there is."""
    with pytest.raises(OptionRefused, match="success, failure, always"):
        handle.async_to("/work", on="never")


def test_a_block_enters_as_a_whole(handle, sink):
    """Behind what was said before its end, and together."""
    with handle.transaction():
        handle.async_to("/in/1")
        handle.async_to("/in/2")
        assert sink.calls == 0
    handle.async_to("/after")
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/in/1", "/in/2", "/after"]


def test_a_block_that_raises_enters_not_at_all(handle, sink):
    """The exception comes through unchanged."""
    handle.async_to("/before")
    with pytest.raises(KeyError), handle.transaction():
        handle.async_to("/in")
        raise KeyError
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/before"]


@pytest.mark.parametrize(
    ("inner_fails", "outer_fails", "expected"),
    [
        (False, False, ["/outer/1", "/inner", "/outer/2"]),
        (True, False, ["/outer/1", "/outer/2"]),
        (False, True, []),
        (True, True, []),
    ],
)
def test_blocks_nest(inner_fails, outer_fails, expected, handle, sink):
    """An inner block joins the outer one, and may fail without it."""
    try:
        with handle.transaction():
            handle.async_to("/outer/1")
            try:
                with handle.transaction():
                    handle.async_to("/inner")
                    if inner_fails:
                        raise LookupError
            except LookupError:
                pass
            handle.async_to("/outer/2")
            if outer_fails:
                raise KeyError
    except KeyError:
        pass
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == expected


def test_blocks_may_end_in_another_order(handle, sink):
    """Two generators of one thread each keep their own group, however they are interleaved."""
    first, second = handle.transaction(), handle.transaction()
    first.__enter__()
    handle.async_to("/first")
    second.__enter__()
    handle.async_to("/second")
    first.__exit__(None, None, None)
    second.__exit__(KeyError, KeyError(), None)
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/first"]


def test_a_block_takes_in_its_own_thread_only(handle, sink):
    """What another thread says meanwhile is no part of the group, and does not fall with it."""
    with pytest.raises(KeyError), handle.transaction():
        handle.async_to("/in")
        in_thread(lambda: handle.async_to("/beside"))
        raise KeyError
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/beside"]


def test_a_block_follows_the_response(handle, sink):
    """A clean block of an aborted request is dropped with it."""
    with handle.transaction():
        handle.async_to("/in")
    handle.conclude(Verdict.ABORT)
    assert sink.calls == 0


def test_a_block_that_ends_after_the_verdict_says_so(handle, sink):
    """Its messages can follow nothing any more."""
    with pytest.raises(HandleClosed), handle.transaction():
        handle.async_to("/in")
        handle.conclude(Verdict.ABORT)
    assert sink.calls == 0


def test_a_good_end_inside_an_open_block_is_a_failure(handle, sink):
    """No client gets a success while messages of an open block are dropped: the verdict becomes ABORT."""
    handle.async_to("/success")
    handle.async_to("/always", on="always")
    with pytest.raises(HandleClosed), handle.transaction():
        handle.async_to("/in")
        with pytest.raises(TransactionOpen):
            handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/always"]


def test_a_forgotten_block_is_open_until_the_end(handle, sink, caplog):
    """Python collects a block that is kept nowhere; its messages are not dropped without an error, nor is the fault."""
    handle.transaction().__enter__()
    gc.collect()
    handle.async_to("/in")
    with pytest.raises(TransactionOpen):
        handle.conclude(Verdict.COMMIT)
    assert sink.calls == 0
    assert "a transaction() block was entered and never left" in caplog.text


def test_a_forgotten_builder_is_reported(handle, sink, caplog):
    """Its message is not stored, and the log says why."""
    handle.message("/in").__enter__()
    gc.collect()
    handle.conclude(Verdict.COMMIT)
    assert sink.calls == 0
    assert "a message() block was entered and never left" in caplog.text


def test_a_block_that_is_left_is_not_reported(handle, sink, caplog):
    """Not after a clean end, an exception, or an error at its begin."""
    with handle.transaction():
        handle.async_to("/in")
    with pytest.raises(KeyError), handle.transaction():
        raise KeyError
    with pytest.raises(ConnectionUnfit):
        handle.transaction(object()).__enter__()
    gc.collect()
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/in"]
    assert caplog.text == ""


def test_an_empty_block_holds_nothing_up(handle, sink):
    """A block without messages has nothing to lose."""
    handle.async_to("/success")
    with handle.transaction():
        handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/success"]


def test_what_is_no_connection_is_refused(handle):
    """The error names what may be given, before anything is done."""
    with pytest.raises(ConnectionUnfit, match="pass a SQLAlchemy Session"), handle.transaction(object()):
        raise AssertionError("the block must not run")
    with pytest.raises(ConnectionUnfit, match="pass a SQLAlchemy Session"):
        handle.join(object())
    with pytest.raises(OptionRefused, match="pass the connection"):
        handle.join()


def test_commit_writes_now_and_failure_notices_wait(handle, sink):
    """commit() concerns what waits for success; the rest follows the response."""
    handle.async_to("/success")
    handle.async_to("/always", on="always")
    handle.async_to("/failure", on="failure")
    handle.commit()
    assert sink.paths == ["/success", "/always"]
    handle.conclude(Verdict.ABORT)
    assert sink.paths == ["/success", "/always", "/failure"]


def test_commit_with_nothing_to_write_writes_nothing(handle, sink):
    """It may be called at any time."""
    handle.commit()
    handle.commit()
    assert sink.calls == 0


def test_commit_leaves_an_open_block_whole(handle, sink):
    """A group enters together, so commit() within it does not touch it."""
    with handle.transaction():
        handle.async_to("/in/1")
        handle.commit()
        assert sink.calls == 0
        handle.async_to("/in/2")
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/in/1", "/in/2"]


def test_a_commit_in_doubt_is_repeated_as_it_was(handle, sink):
    """The same put under the same id, so that the store can tell; later messages go apart."""
    handle.async_to("/first")
    sink.error, sink.stores_all_the_same = unavailable(outcome_unknown=True), True
    with pytest.raises(StoreUnavailable):
        handle.commit()
    sink.error = None
    handle.async_to("/second")
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/first", "/second"]
    assert sink.calls == 3


def test_a_commit_that_certainly_failed_joins_what_follows(handle, sink):
    """Nothing was stored, so all goes in one put."""
    handle.async_to("/first")
    sink.error = unavailable()
    with pytest.raises(StoreUnavailable):
        handle.commit()
    sink.error = None
    handle.async_to("/second")
    handle.conclude(Verdict.COMMIT)
    assert [len(put.messages) for put in sink.puts] == [2]


def test_a_commit_that_failed_keeps_its_place(handle, sink):
    """What was said while it was under way comes behind it."""
    handle.async_to("/first")

    def fails():
        sink.before_put = lambda: None
        handle.async_to("/second")
        raise unavailable()

    sink.before_put = fails
    with pytest.raises(StoreUnavailable):
        handle.commit()
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/first", "/second"]


def test_a_commit_in_doubt_is_not_repeated_after_abort(handle, sink):
    """What is in doubt stays in doubt; nothing more is done for a request that failed."""
    handle.async_to("/first")
    sink.error = unavailable(outcome_unknown=True)
    with pytest.raises(StoreUnavailable):
        handle.commit()
    sink.error = None
    handle.conclude(Verdict.ABORT)
    assert sink.puts == []


def test_rollback_drops_only_what_waits_for_success(handle, sink):
    """Audit and failure notices stay, and so do open blocks."""
    with handle.transaction():
        handle.async_to("/block")
        handle.async_to("/notice", on="always")
    handle.rollback()
    handle.async_to("/after")
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/notice", "/after"]


def test_a_verdict_waits_for_a_commit_of_another_thread(handle, sink):
    """A success is not told while the put that it rests on is under way; its failure is tried again."""
    entered, go_on = threading.Event(), threading.Event()
    handle.async_to("/work")

    def first_put_fails():
        entered.set()
        assert go_on.wait(10)
        sink.before_put = lambda: None
        raise unavailable()

    sink.before_put = first_put_fails
    failures = []

    def commit():
        try:
            handle.commit()
        except StoreUnavailable as error:
            failures.append(error)

    committing = threading.Thread(target=commit)
    committing.start()
    assert entered.wait(10)
    assert handle.would_write(Verdict.COMMIT), "a put under way still waits"
    concluding = threading.Thread(target=handle.conclude, args=(Verdict.COMMIT,))
    concluding.start()
    go_on.set()
    committing.join(10)
    concluding.join(10)
    assert len(failures) == 1
    assert sink.paths == ["/work"]


def test_threads_share_a_handle(handle, sink):
    """No message is lost or doubled, whatever the threads do at once."""
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait(10)
        for count in range(20):
            with handle.transaction():
                handle.async_to(f"/{number}/{count}")
                handle.async_to(f"/{number}/{count}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    handle.conclude(Verdict.COMMIT)
    assert len(sink.messages) == len({message.id for message in sink.messages}) == 320
    assert sink.paths[::2] == sink.paths[1::2], "a group is never torn apart"


def test_the_limit_of_messages(sink):
    """The one too many is refused, and the others are stored."""
    handle = make_handle(sink, max_messages=2)
    handle.async_to("/1")
    with handle.transaction():
        handle.async_to("/2")
        with pytest.raises(PayloadTooLarge) as caught:
            handle.async_to("/3")
    assert (caught.value.size, caught.value.limit, caught.value.setting) == (3, 2, "max_messages")
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/1", "/2"]


def test_the_limit_of_bytes(sink):
    """Bodies and headers count together."""
    handle = make_handle(sink, max_request_bytes=100)
    handle.async_to("/1", b"x" * 60, headers={"Content-Type": "a/b"})
    with pytest.raises(PayloadTooLarge) as caught:
        handle.async_to("/2", b"x" * 30, headers={"Content-Type": "a/b"})
    assert caught.value.setting == "max_request_bytes"
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/1"]


def test_a_message_by_itself_has_its_own_limit(sink):
    """A body as large as `max_body_bytes` allows is held, whatever is allowed for several together."""
    handle = make_handle(sink, max_body_bytes=100, max_request_bytes=100)
    handle.async_to("/1", b"x" * 100)
    with pytest.raises(PayloadTooLarge, match="max_request_bytes"):
        handle.async_to("/2", b"")
    handle.conclude(Verdict.COMMIT)
    assert sink.paths == ["/1"]


def test_what_is_no_longer_held_no_longer_counts(sink):
    """After a commit, a rollback or a failed block there is room again, so that a stream may go on for ever."""
    handle = make_handle(sink, max_messages=1)
    for _ in range(3):
        handle.async_to("/committed")
        handle.commit()
        handle.async_to("/dropped")
        handle.rollback()
        with pytest.raises(KeyError), handle.transaction():
            handle.async_to("/failed")
            raise KeyError
    assert sink.paths == ["/committed"] * 3


def test_one_trace_a_request(sink):
    """All messages of a request share a trace, which begins here if the request has none."""
    handle = make_handle(sink, traceparent="nonsense")
    handle.async_to("/1")
    handle.async_to("/2")
    own = "c" * 32
    handle.async_to("/3", headers={"TraceParent": f"00-{own}-{'d' * 16}-00"})
    handle.async_to("/4", headers={"traceparent": "nonsense"})
    handle.conclude(Verdict.COMMIT)
    traces = [message.trace_id for message in sink.messages]
    assert traces[0] == traces[1] == traces[3] != traces[2] == own
    assert len(traces[0]) == 32


def test_without_messages_nothing_is_found_or_written():
    """The writer is not even looked for."""

    def no_sink():
        raise AssertionError("no writer is needed")

    handle = Handle(no_sink, Settings(), None)
    with handle.transaction():
        pass
    handle.commit()
    handle.conclude(Verdict.COMMIT)
    assert handle.is_empty
