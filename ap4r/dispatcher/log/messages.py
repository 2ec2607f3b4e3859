"""The text of an event in the log: a pure function from event to line.

Bodies are never part of it, and targets are cut before their query: both may hold secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ap4r.events import events as happened
from ap4r.outcome.outcome import NOT_CALLED, Dead, Delivered, Dropped, Failure, Outcome, PutBack, Reason, RetryLater
from ap4r.redaction import in_one_line, shortened

#: An operator needs to know why a WSDL cannot be fetched or parsed, and the text is our own.
_OF_DESCRIPTIONS = frozenset({Reason.NO_DESCRIPTION, Reason.BAD_DESCRIPTION})
_QUERIES = re.compile(r"\?\S+")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log. `fields` are the same facts for machines."""

    level: str
    name: str
    text: str
    fields: dict[str, Any] = field(default_factory=dict)


def line_of(event: happened.Event) -> Line | None:
    """Return the line of an event, or None when it is not worth one."""
    build = _LINES.get(type(event))
    return None if build is None else build(event)


def failure_words(failure: Failure | None) -> str:
    """Return the reason in a few words, without any text of the target."""
    if failure is None:
        return "unknown"
    words = failure.reason.value.replace("_", " ")
    if failure.status is not None:
        return f"{words} {failure.status}"
    # Otherwise the detail may quote a response.
    if failure.reason in NOT_CALLED and failure.detail and failure.detail != words:
        return f"{words} ({failure.detail})"
    if failure.reason in _OF_DESCRIPTIONS and failure.detail:
        return f"{words} ({_QUERIES.sub('?…', shortened(in_one_line(failure.detail)))})"
    return words


def without_query(url: str) -> str:
    """Return a URL without its query."""
    return url.partition("?")[0]


def _started(event: happened.DispatcherStarted) -> Line:
    bell = f"doorbell {event.bell}" if event.bell else "no doorbell: new messages are found by polling"
    return Line(
        "info", "started", f"dispatcher {event.owner} works on {event.store}; {bell}",
        {"owner": event.owner, "store": event.store, "bell": event.bell},
    )  # fmt: skip


def _stopping(event: happened.DispatcherStopping) -> Line:
    text = f"stopping work on {event.store}: {event.in_flight} calls in flight may end within {event.grace_seconds:g} s"
    fields = {"owner": event.owner, "store": event.store, "in_flight": event.in_flight}
    return Line("info", "stopping", text, {**fields, "grace_seconds": event.grace_seconds})


def _stopped(event: happened.DispatcherStopped) -> Line:
    text = f"stopped work on {event.store}; {event.handed_back} messages were handed back uncalled"
    fields = {"owner": event.owner, "store": event.store, "handed_back": event.handed_back}
    return Line("info", "stopped", text, fields)


def _reload_failed(event: happened.ReloadFailed) -> Line:
    text = f"the settings could not be read again, the old ones stay: {event.problem}"
    return Line("error", "reload_failed", text, {"problem": event.problem})


def _restart_needed(event: happened.RestartNeeded) -> Line:
    names = ", ".join(event.settings)
    return Line("warn", "restart_needed", f"changed, but only a restart applies it: {names}", {"settings": names})


def _serving(event: happened.Serving) -> Line:
    return Line("info", "serving", f"{event.what} at {event.url}", {"what": event.what, "url": event.url})


def _clock_stepped(event: happened.ClockStepped) -> Line:
    way = "forwards" if event.seconds > 0 else "backwards"
    text = f"the wall clock was set {way} by {abs(event.seconds):.1f} s; due times follow it, deadlines do not"
    return Line("warn", "clock_stepped", text, {"seconds": round(event.seconds, 3)})


def _machine_slept(event: happened.MachineSlept) -> Line:
    text = f"the machine slept for {event.seconds:.1f} s; work continues"
    return Line("info", "machine_slept", text, {"seconds": round(event.seconds, 3)})


def _stood_still(event: happened.StoodStill) -> Line:
    text = (
        f"this process stalled for {event.seconds:.1f} s: it was stopped, or code in it took that time; "
        f"deadlines do not count this time"
    )
    return Line("warn", "stood_still", text, {"seconds": round(event.seconds, 3)})


def _call_ended(event: happened.CallEnded) -> Line:
    target = without_query(event.target)
    text = (
        f"{_outcome_words(event.outcome)}: message {event.message_id} of {event.queue} to {target}, "
        f"attempt {event.attempt}, {event.seconds * 1000:.0f} ms"
    )
    fields = {"message": event.message_id, "queue": event.queue, "target": target, "attempt": event.attempt}
    return Line("debug", "call", text, {**fields, "seconds": round(event.seconds, 6)})


def _settled(event: happened.Settled) -> Line | None:
    outcome = event.outcome
    fields: dict[str, Any] = {"message": event.message_id, "queue": event.queue}
    about = f"message {event.message_id} of {event.queue}"
    if isinstance(outcome, RetryLater):
        fields |= {"why": outcome.failure.reason.value, "status": outcome.failure.status}
        fields["wait_seconds"] = round(outcome.wait_seconds, 3)
        text = f"retry in {outcome.wait_seconds:.1f} s: {about}: {failure_words(outcome.failure)}"
        return Line("info", "retry", text, fields)
    if isinstance(outcome, Dead):
        fields |= {"why": outcome.reason.value, "status": outcome.failure.status if outcome.failure else None}
        text = f"dead letter ({outcome.reason.value.replace('_', ' ')}): {about}: {failure_words(outcome.failure)}"
        return Line("warn", "dead", text, fields)
    if isinstance(outcome, Dropped):
        fields |= {"why": outcome.failure.reason.value, "status": outcome.failure.status}
        return Line("info", "dropped", f"dropped as agreed: {about}: {failure_words(outcome.failure)}", fields)
    return None


def _lease_lost(event: happened.LeaseLost) -> Line:
    text = f"message {event.message_id} of {event.queue} was no longer ours: its outcome was not stored"
    return Line("warn", "lease_lost", text, {"message": event.message_id, "queue": event.queue})


def _held(event: happened.TargetHeld) -> Line:
    text = f"target {event.origin} is held for {event.seconds:.1f} s: {failure_words(event.why)}"
    fields = {"origin": event.origin, "seconds": round(event.seconds, 3), "why": event.why.reason.value}
    return Line("warn", "held", text, fields)


def _released(event: happened.TargetReleased) -> Line:
    return Line("info", "released", f"target {event.origin} answers again", {"origin": event.origin})


def _queue_held(event: happened.QueueHeld) -> Line:
    text = f"queue {event.queue} at {event.origin} is held for {event.seconds:.1f} s: {failure_words(event.why)}"
    fields = {"queue": event.queue, "origin": event.origin, "seconds": round(event.seconds, 3)}
    return Line("warn", "queue_held", text, {**fields, "why": event.why.reason.value, "status": event.why.status})


def _queue_released(event: happened.QueueReleased) -> Line:
    text = f"queue {event.queue} at {event.origin} is called again"
    return Line("info", "queue_released", text, {"queue": event.queue, "origin": event.origin})


def _cut(event: happened.TargetCut) -> Line:
    calls = "1 call" if event.calls == 1 else f"{event.calls} calls"
    text = f"target {event.origin} gets at most {calls} at once for now: {failure_words(event.why)}"
    fields = {"origin": event.origin, "calls": event.calls, "why": event.why.reason.value, "status": event.why.status}
    return Line("warn", "target_cut", text, fields)


def _turned_away(event: happened.TurnedAway) -> Line:
    target = without_query(event.target)
    text = f"{target} of {event.queue} answered {event.status}: {event.advice}"
    fields = {"queue": event.queue, "target": target, "status": event.status, "advice": event.advice}
    return Line("warn", "turned_away", text, fields)


def _feeds_itself(event: happened.QueueFeedsItself) -> Line:
    target = without_query(event.target)
    text = (
        f"queue {event.queue} feeds itself: {target} is called for a message that a chain of {event.depth} "
        "deliveries led to, each asking for the next; does an action call itself, directly or through other actions, "
        "each time it is called? At max_depth the message is refused"
    )
    return Line("warn", "feeds_itself", text, {"queue": event.queue, "target": target, "depth": event.depth})


def _unanswered(event: happened.Unanswered) -> Line:
    target = without_query(event.target)
    text = f"{target} of {event.queue} gave no answer in time, with {event.in_flight} calls in flight: {event.advice}"
    fields = {"queue": event.queue, "target": target, "in_flight": event.in_flight, "advice": event.advice}
    return Line("warn", "unanswered", text, fields)


def _left_out(event: happened.ServerLeftOut) -> Line:
    text = f"server {event.server} of {event.upstream} is ejected; not called for {event.seconds:.1f} s"
    return Line("warn", "left_out", text, {"upstream": event.upstream, "server": event.server})


def _taken_back(event: happened.ServerTakenBack) -> Line:
    text = f"server {event.server} of {event.upstream} passes its check again; its share of calls grows"
    return Line("info", "taken_back", text, {"upstream": event.upstream, "server": event.server})


def _died(event: happened.DispatcherDied) -> Line:
    text = (
        f"dispatcher {event.owner} stopped its heartbeat; of its messages {event.freed} will be called again, "
        f"{event.dead} are dead letters, {event.dropped} were dropped"
    )
    fields = {"owner": event.owner, "freed": event.freed, "dead": event.dead, "dropped": event.dropped}
    return Line("warn", "died", text, fields)


def _owner_lost(event: happened.OwnerWasLost) -> Line:
    text = (
        "the store does not have this dispatcher any more: it was considered dead and its messages were given to "
        f"others, or the store was replaced; it is now {event.owner}"
    )
    return Line("error", "owner_lost", text, {"owner": event.owner})


def _store_failed(event: happened.StoreFailed) -> Line:
    text = f"store {event.store} failed ({event.doing}): {event.problem}; next attempt in {event.wait_seconds:.1f} s"
    return Line("error", "store_failed", text, {"store": event.store, "doing": event.doing, "problem": event.problem})


def _store_recovered(event: happened.StoreRecovered) -> Line:
    text = f"store {event.store} answers again after {event.seconds:.1f} s"
    return Line("info", "store_recovered", text, {"store": event.store, "seconds": round(event.seconds, 3)})


def _unexpected(event: happened.Unexpected) -> Line:
    text = f"a defect of ap4r while {event.doing}; work continues\n{event.traceback.rstrip()}"
    return Line("error", "unexpected", text, {"doing": event.doing})


def _outcome_words(outcome: Outcome) -> str:
    if isinstance(outcome, Delivered):
        return f"delivered {outcome.status}"
    if isinstance(outcome, RetryLater):
        return f"failed, {failure_words(outcome.failure)}"
    if isinstance(outcome, PutBack):
        return "not called" if outcome.failure is None else f"not called, {failure_words(outcome.failure)}"
    return f"given up, {failure_words(outcome.failure)}"


_LINES: dict[type, Callable[[Any], Line | None]] = {
    happened.DispatcherStarted: _started,
    happened.DispatcherStopping: _stopping,
    happened.DispatcherStopped: _stopped,
    happened.DispatcherReloaded: lambda event: Line("info", "reloaded", "the settings were read again"),
    happened.ReloadFailed: _reload_failed,
    happened.RestartNeeded: _restart_needed,
    happened.Serving: _serving,
    happened.ClockStepped: _clock_stepped,
    happened.MachineSlept: _machine_slept,
    happened.StoodStill: _stood_still,
    happened.CallEnded: _call_ended,
    happened.Settled: _settled,
    happened.LeaseLost: _lease_lost,
    happened.TargetHeld: _held,
    happened.TargetReleased: _released,
    happened.QueueHeld: _queue_held,
    happened.QueueReleased: _queue_released,
    happened.TargetCut: _cut,
    happened.TurnedAway: _turned_away,
    happened.QueueFeedsItself: _feeds_itself,
    happened.Unanswered: _unanswered,
    happened.ServerLeftOut: _left_out,
    happened.ServerTakenBack: _taken_back,
    happened.DispatcherDied: _died,
    happened.OwnerWasLost: _owner_lost,
    happened.StoreFailed: _store_failed,
    happened.StoreRecovered: _store_recovered,
    happened.Unexpected: _unexpected,
}
