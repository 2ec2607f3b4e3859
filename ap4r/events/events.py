"""What happens, as values. Logging, figures and tests subscribe; the code that acts never writes a log line."""

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
    """The dispatcher claims no more of a store; `in_flight` calls may end within `grace_seconds`."""

    owner: str
    store: str
    in_flight: int
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class DispatcherStopped:
    """The dispatcher has left the store; `handed_back` messages are anyone's again."""

    owner: str
    store: str
    handed_back: int


@dataclass(frozen=True, slots=True)
class DispatcherReloaded:
    """The settings were read again. `stores` are those that are worked on."""

    stores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """The settings could not be read again; the old ones stay."""

    problem: str


@dataclass(frozen=True, slots=True)
class RestartNeeded:
    """These settings are other than those the dispatcher started with, and only a restart brings them."""

    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Serving:
    """Something of this process answers at `url`; `what` says what."""

    what: str
    url: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """Messages were leased to this dispatcher."""

    count: int


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The wall clock of this machine was set: by so many seconds forwards, or backwards where they are negative."""

    seconds: float


@dataclass(frozen=True, slots=True)
class MachineSlept:
    """The machine slept for so long, and goes on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StoodStill:
    """The reactor did not turn for so long: the process was stopped, or something in it took that time."""

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
    """The outcome is written down."""

    message_id: str
    queue: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The outcome came too late: the message is no longer ours, nothing was written."""

    message_id: str
    queue: str


@dataclass(frozen=True, slots=True)
class TargetHeld:
    """A server could not be reached: no call is made to this origin until `seconds` have passed; then one probes it."""

    origin: str
    seconds: float
    why: Failure


@dataclass(frozen=True, slots=True)
class TargetReleased:
    """A held origin answered again."""

    origin: str


@dataclass(frozen=True, slots=True)
class QueueHeld:
    """An action asked for less: no call of its queue is made to this origin until `seconds` have passed."""

    queue: str
    origin: str
    seconds: float
    why: Failure


@dataclass(frozen=True, slots=True)
class QueueReleased:
    """A queue's probe at an origin was answered without asking for less."""

    queue: str
    origin: str


@dataclass(frozen=True, slots=True)
class TargetCut:
    """Several queues of an origin asked for less, or its connections end: it gets `calls` at once, soon more again."""

    origin: str
    calls: int
    why: Failure


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """An application answered as one does whose set-up keeps deliveries out; `advice` names the setting."""

    queue: str
    target: str
    status: int
    advice: str


@dataclass(frozen=True, slots=True)
class QueueFeedsItself:
    """A message is called that came about by `depth` deliveries which each asked for the next."""

    queue: str
    target: str
    depth: int


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A call had no whole answer in time while `in_flight` were under way; `advice` says what to look at."""

    queue: str
    target: str
    in_flight: int
    advice: str


@dataclass(frozen=True, slots=True)
class ServerLeftOut:
    """A server of an upstream accepts no connection, gives no good answer or fails its check; left out for `seconds`.

    After a failed check that is until the next, at least.
    """

    upstream: str
    server: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ServerTakenBack:
    """A server of an upstream passes its check again; its share grows from now on."""

    upstream: str
    server: str


@dataclass(frozen=True, slots=True)
class DispatcherDied:
    """Another dispatcher fell silent; its messages were taken from it: so many `freed`, `dead` and `dropped`."""

    owner: str
    freed: int
    dead: int
    dropped: int


@dataclass(frozen=True, slots=True)
class OwnerWasLost:
    """This dispatcher was taken for dead and has registered anew."""

    owner: str


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The store did not answer; `doing` says what was tried. It is tried again in `wait_seconds`."""

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
    """A defect of ap4r or a plug-in: the loop that met it goes on. `traceback` is text."""

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
