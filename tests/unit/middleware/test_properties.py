"""What holds for every application that can be written: bytes, order, verdict, close()."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ap4r.errors import HandleClosed
from ap4r.middleware import AP4RMiddleware
from tests.support.sink import MemorySink, unavailable
from tests.support.wire import exchange, make_environ


class Broken(Exception):
    """What the application raises."""


@dataclass(frozen=True)
class Plan:
    """One application: how it starts, what it writes and yields, where it says its message and where it fails."""

    status: int
    written: tuple[int, ...]
    yielded: tuple[int, ...]
    has_length: bool
    starts_late: bool
    is_list: bool
    says_at: int | None
    raises_at: int | None
    method: str

    @property
    def size(self) -> int:
        """Bytes of the whole body."""
        return sum(self.written) + sum(self.yielded)


class Run:
    """The application of a plan, and what became of it. Steps are counted over calls, writes and yields."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.given = 0
        self.ended = False
        self.closed = 0
        self.said = self.said_before_last = False

    def __call__(self, environ, start_response):
        """Behave as planned."""
        plan = self.plan
        headers = [("Content-Length", str(plan.size))] if plan.has_length else []
        steps = iter(range(1_000))

        def step():
            number = next(steps)
            if plan.says_at == number and "ap4r" in environ:
                environ["ap4r"].async_to("/work")
                self.said = True
                self.said_before_last = self.given < plan.size or plan.size == 0
            if plan.raises_at == number:
                raise Broken

        def start():
            return start_response(f"{plan.status} Status", headers)

        def body():
            if plan.starts_late:
                start()
            for size in plan.yielded:
                step()
                self.given += size
                yield b"y" * size
            step()
            self.ended = True

        step()
        if plan.written or not plan.starts_late or plan.is_list:
            write = start()
            for size in plan.written:
                step()
                self.given += size
                write(b"w" * size)
            step()
        if plan.is_list:
            self.given = plan.size
            self.ended = True
            return [b"y" * size for size in plan.yielded]
        outer = self

        class Closed:
            def __iter__(self):
                return body()

            def close(self):
                outer.closed += 1

        return Closed()


SIZES = st.lists(st.sampled_from([0, 1, 2, 5, 40]), max_size=5).map(tuple)


@st.composite
def plans(draw):
    """Any application."""
    is_list = draw(st.booleans())
    written = draw(st.one_of(st.just(()), SIZES))
    return Plan(
        status=draw(st.sampled_from([200, 200, 200, 204, 303, 404, 500])),
        written=written,
        yielded=draw(SIZES),
        has_length=draw(st.booleans()),
        starts_late=draw(st.booleans()) and not is_list and not written,
        is_list=is_list,
        says_at=draw(st.one_of(st.none(), st.integers(0, 12))),
        raises_at=draw(st.one_of(st.none(), st.none(), st.integers(0, 12))),
        method=draw(st.sampled_from(["GET", "GET", "POST", "HEAD"])),
    )


def serve(plan, sink, *, buffer_bytes=65_536, leave_after=None, commit_at="end", wrapped=True):
    """Serve a plan with or without the middleware; return its run and the answer."""
    run = Run(plan)
    app = AP4RMiddleware(run, store=sink, buffer_bytes=buffer_bytes, commit_at=commit_at) if wrapped else run
    answer = exchange(app, make_environ(plan.method), mark=lambda: (len(sink.puts), run.given), leave_after=leave_after)
    return run, answer


BUFFERS = st.sampled_from([0, 4, 65_536])


@given(plan=plans(), buffer_bytes=BUFFERS)
def test_the_same_bytes_leave_unless_the_request_fails(plan, buffer_bytes):
    """With and without the middleware a client sees the same, but for a cut body of which nothing had to leave."""
    bare_run, bare = serve(plan, MemorySink(), wrapped=False)
    sink = MemorySink()
    run, answer = serve(plan, sink, buffer_bytes=buffer_bytes)
    assert run.closed == bare_run.closed
    if bare.raised is None and answer.raised is None:
        assert (answer.status, answer.headers, answer.body) == (bare.status, bare.headers, bare.body)
        assert [chunk for chunk in answer.chunks if chunk] == [chunk for chunk in bare.chunks if chunk]
    elif bare.raised is not None:
        # A message that comes after all bytes of a Content-Length is refused before the plan gets to its own failure.
        too_late = plan.has_length and plan.says_at is not None and not run.said
        assert type(answer.raised) is type(bare.raised) or (too_late and type(answer.raised) is HandleClosed)
        assert bare.body.startswith(answer.body)


@given(plan=plans(), buffer_bytes=BUFFERS)
def test_messages_are_stored_exactly_when_the_request_succeeds(plan, buffer_bytes):
    """What was said is stored if all went well, and before the last byte leaves if it was said before; else never."""
    sink = MemorySink()
    run, answer = serve(plan, sink, buffer_bytes=buffer_bytes)
    if answer.raised is None and answer.code < 400:
        assert len(sink.puts) == int(run.said)
        if run.said_before_last:
            assert answer.marks[-1][0] == 1
    elif plan.method != "HEAD" and plan.status != 204 and not (run.given == plan.size and plan.has_length):
        assert sink.puts == []


@given(plan=plans(), buffer_bytes=BUFFERS, unknown=st.booleans(), commit_at=st.sampled_from(["end", "headers"]))
def test_a_failing_store_is_never_hidden(plan, buffer_bytes, unknown, commit_at):
    """When messages could not be stored, no client takes what it got for a whole success with those messages."""
    sink = MemorySink()
    sink.error = unavailable(outcome_unknown=unknown)
    run, answer = serve(plan, sink, buffer_bytes=buffer_bytes, commit_at=commit_at)
    if sink.calls:
        assert answer.raised is not None or answer.code == 503
        assert not answer.looks_whole
    if answer.code == 503:
        assert answer.starts <= 2
    assert run.closed <= 1


@given(plan=plans(), buffer_bytes=BUFFERS, leave_after=st.integers(0, 4))
def test_a_client_that_leaves_is_noticed(plan, buffer_bytes, leave_after):
    """When the server closes a response, its messages are stored only if the application had given all of it."""
    sink = MemorySink()
    run, answer = serve(plan, sink, buffer_bytes=buffer_bytes, leave_after=leave_after)
    if answer.left_early and sink.puts and plan.method != "HEAD" and plan.status != 204:
        assert run.ended or (plan.has_length and run.given == plan.size)
    if answer.left_early and not plan.is_list:
        assert run.closed == 1


@given(sizes=st.lists(st.integers(1, 50), min_size=2, max_size=8), has_length=st.booleans())
def test_a_stream_is_never_held_beyond_one_chunk(sizes, has_length):
    """When a chunk leaves, the application is at most one chunk ahead, the start's one further value included."""
    plan = Plan(200, (), tuple(sizes), has_length, False, False, 0, None, "GET")
    sink = MemorySink()
    _, answer = serve(plan, sink, buffer_bytes=0)
    sent = 0
    for number, (_, given_so_far) in enumerate(answer.marks[1:]):
        sent += sizes[number]
        assert given_so_far - sent <= (sizes[number + 1] if number + 1 < len(sizes) else 0)
