"""Events of a dispatcher, as values. Logs, metrics and tests subscribe; the code that emits them never logs."""

from __future__ import annotations

from dataclasses import dataclass

from ap4r.outcome.outcome import Failure, Outcome


@dataclass(frozen=True, slots=True)
class DispatcherStarted:
    """A dispatcher is registered in a store and claims. `bell` is the doorbell's address, empty for none."""

    owner: str
    store: str
    bell: str


@dataclass(frozen=True, slots=True)
class DispatcherStopping:
    """The dispatcher stops claiming from a store; `in_flight` calls may end within `grace_seconds`."""

    owner: str
    store: str
    in_flight: int
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class DispatcherStopped:
    """The dispatcher has left the store; `handed_back` messages can be claimed by others."""

    owner: str
    store: str
    handed_back: int


@dataclass(frozen=True, slots=True)
class DispatcherReloaded:
    """The settings were read again. `stores` are those in use."""

    stores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """The settings could not be read again; the old ones stay."""

    problem: str


@dataclass(frozen=True, slots=True)
class RestartNeeded:
    """These settings differ from those the dispatcher started with, and only a restart applies them."""

    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Serving:
    """A service of this process, named by `what`, answers at `url`."""

    what: str
    url: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """Messages were leased to this dispatcher."""

    count: int


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The wall clock of this machine was set: by so many seconds forwards, or backwards if negative."""

    seconds: float


@dataclass(frozen=True, slots=True)
class MachineSlept:
    """The machine slept for so long, and continues."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StoodStill:
    """The reactor was blocked for so long: the process was stopped, or code in it took that time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call was begun."""

    message_id: str
    queue: str
    target: str
    attempt: int


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call has its outcome; it is not settled yet. `seconds` is the exchange's length."""

    message_id: str
    queue: str
    target: str
    attempt: int
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcome is stored."""

    message_id: str
    queue: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The outcome came too late: the lease of the message was lost, and nothing was stored."""

    message_id: str
    queue: str


@dataclass(frozen=True, slots=True)
class TargetHeld:
    """A server could not be reached: no call is made to this origin for `seconds`; then one call probes it."""

    origin: str
    seconds: float
    why: Failure


@dataclass(frozen=True, slots=True)
class TargetReleased:
    """A held origin answered again."""

    origin: str


@dataclass(frozen=True, slots=True)
class QueueHeld:
    """An action asked for a pause: no call of its queue is made to this origin for `seconds`."""

    queue: str
    origin: str
    seconds: float
    why: Failure


@dataclass(frozen=True, slots=True)
class QueueReleased:
    """A queue's probe at an origin was answered without asking for a pause."""

    queue: str
    origin: str


@dataclass(frozen=True, slots=True)
class TargetCut:
    """Several queues of an origin asked for a pause, or its connections fail: its limit is `calls`, and rises again."""

    origin: str
    calls: int
    why: Failure


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """An application answered as one whose set-up refuses deliveries; `advice` names the setting."""

    queue: str
    target: str
    status: int
    advice: str


@dataclass(frozen=True, slots=True)
class QueueFeedsItself:
    """A message is called that a chain of `depth` deliveries led to, each asking for the next."""

    queue: str
    target: str
    depth: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A call had no whole answer in time while `in_flight` calls were running; `advice` says what to check."""

    queue: str
    target: str
    in_flight: int
    advice: str


@dataclass(frozen=True, slots=True)
class ServerLeftOut:
    """A server of an upstream accepts no connection, answers badly or fails its check; it is ejected for `seconds`.

    After a failed check the ejection lasts at least until the next check.
    """

    upstream: str
    server: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerTakenBack:
    """A server of an upstream passes its check again; its share of calls grows from now on."""

    upstream: str
    server: str


@dataclass(frozen=True, slots=True)
class DispatcherDied:
    """Another dispatcher stopped its heartbeat; its messages were rescued: so many `freed`, `dead` and `dropped`."""

    owner: str
    freed: int
    dead: int
    dropped: int


@dataclass(frozen=True, slots=True)
class OwnerWasLost:
    """This dispatcher was considered dead and has registered again."""

    owner: str


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The store did not answer; `doing` names the operation. It is retried in `wait_seconds`."""

    store: str
    doing: str
    problem: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """The store answers again after `seconds`."""

    store: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A defect of ap4r or a plug-in: the loop in which it occurred continues. `traceback` is text."""

    doing: str
    traceback: str


Event = (
    DispatcherStarted
    | DispatcherStopping
    | DispatcherStopped
    | DispatcherReloaded
    | ReloadFailed
    | RestartNeeded
    | Serving
    | ClockStepped
    | MachineSlept
    | StoodStill
    | Claimed
    | CallStarted
    | CallEnded
    | Settled
    | LeaseLost
    | TargetHeld
    | TargetReleased
    | QueueHeld
    | QueueReleased
    | TargetCut
    | TurnedAway
    | QueueFeedsItself
    | Unanswered
    | ServerLeftOut
    | ServerTakenBack
    | DispatcherDied
    | OwnerWasLost
    | StoreFailed
    | StoreRecovered
    | Unexpected
)
