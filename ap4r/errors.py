"""Every error that ap4r raises: one root, facts as attributes, a text that says what to do.

It decides nothing: results of deliveries are values (`ap4r.outcome.outcome`), never these exceptions.
"""

from __future__ import annotations

from ap4r.redaction import in_one_line, shortened

NO_TABLES = "none"  #: the version of a store without tables


class Ap4rError(Exception):
    """The root of everything that ap4r raises on purpose. Its errors survive pickling, fields included."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own way calls the class with the finished text, which is not the constructors' argument.
        return _restored, (type(self), self.args), self.__dict__


class ConfigError(Ap4rError):
    """A setting is missing, unknown or out of range. Raised at start-up only."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"setting {setting}: {problem}")
        self.setting = setting
        self.problem = problem


class MessageError(Ap4rError, ValueError):
    """The caller's mistake in describing a message. Raised in the handler; nothing was stored."""


class TargetRefused(MessageError):
    """The target cannot be called: malformed, of an unknown scheme, or not allowed."""

    def __init__(self, target: object, problem: str) -> None:
        super().__init__(f"target {shortened(target)}: {problem}")
        self.target = target
        self.problem = problem


class OptionRefused(MessageError):
    """An option of `async_to` has an invalid value."""

    def __init__(self, option: str, value: object, problem: str) -> None:
        super().__init__(f"{option}={shortened(value)}: {problem}")
        self.option = option
        self.value = value
        self.problem = problem


class PayloadTooLarge(MessageError):
    """A body, the headers or a whole request's messages exceed their limit. Sizes are bytes, counts are messages.

    `setting` names the setting of the limit, "" if there is none.
    """

    def __init__(self, what: str, size: int, limit: int, setting: str) -> None:
        which = f"setting {setting}" if setting else "which no setting raises"
        super().__init__(f"{what}: {size:,} is more than the limit of {limit:,} ({which})")
        self.what = what
        self.size = size
        self.limit = limit
        self.setting = setting


class PayloadNotEncodable(MessageError):
    """A value inside `params` cannot be written in the requested format. `advice` says what the caller can do."""

    def __init__(
        self, where: object, value: object, format: str, advice: str = "convert it to a plain value first"
    ) -> None:
        where = str(where)
        super().__init__(f"{where}: a value of type {type(value).__name__} cannot be written as {format}; {advice}")
        self.where = where
        self.value = value
        self.format = format
        self.advice = advice


class DepthExceeded(MessageError):
    """Too many deliveries have asked for one another. An action that calls itself each time never ends."""

    def __init__(self, depth: int, limit: int) -> None:
        super().__init__(
            f"a chain of {depth} deliveries, each asking for the next, would lead to this message, and max_depth is "
            f"{limit}; an action that calls itself, directly or through other actions, each time it is called never "
            "ends. If the chain is intended and ends, raise max_depth"
        )
        self.depth = depth
        self.limit = limit


class MessageConflict(MessageError):
    """A message's id is remembered for a message with other content. Nothing of its put was stored."""

    def __init__(self, message_id: str) -> None:
        super().__init__(
            f"message {message_id}: this id was used for a message with other content; give each message its own id"
        )
        self.message_id = message_id


class HandleClosed(Ap4rError):
    """`async_to` was called after the commit decision of the request, too late for a message to be sent with it."""

    def __init__(self) -> None:
        super().__init__(
            "the request or session was already decided, so a message can no longer be sent with it; "
            "use ap4r.session(store) for work after the response"
        )


class TransactionOpen(Ap4rError):
    """A `transaction()` block with messages was still open at a successful end. It is a failure: none are stored."""

    def __init__(self) -> None:
        super().__init__(
            "a transaction() block was still open at the end, so it is ambiguous whether its messages were intended; "
            "leave the block before the response or session ends"
        )


class DeliveryRefused(Ap4rError):
    """The request was refused: by `once(conn)`, whose block did not run, or by `require_delivery()`."""


class NotADelivery(DeliveryRefused):
    """The request is not a verified delivery, so its id cannot be trusted."""

    def __init__(self) -> None:
        super().__init__(
            "once() needs a delivery whose signature was verified, and this request is not one; set the secret that "
            "its sender signs with (`ap4r init` writes one for your own dispatcher), or name the request yourself: "
            "once(conn, key=…)"
        )


class DeliveryRequired(DeliveryRefused):
    """The action accepts verified deliveries only, and the request is not one. Uncaught, it is answered 403."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this action accepts signed deliveries only: {why}")
        self.why = why


class DeliveryBusy(DeliveryRefused):
    """Another call of the same message still runs, or has just ended. Nothing was done; a retry may succeed soon."""

    def __init__(self, id: str) -> None:
        super().__init__(f"message {shortened(id)} is being received by another call; retry soon")
        self.id = id


class DeliveryDiffers(DeliveryRefused):
    """A message with this id and different content was received before. Nothing was done."""

    def __init__(self, id: str) -> None:
        super().__init__(f"message {shortened(id)} was received before with different content; use an id only once")
        self.id = id


class ConnectionUnfit(Ap4rError):
    """The application's connection cannot carry messages now, or not at all. Nothing was written over it."""

    def __init__(self, connection: str, problem: str) -> None:
        super().__init__(f"{connection}: {problem}")
        self.connection = connection
        self.problem = problem


class BlockUsed(Ap4rError):
    """The object that `transaction()`, `once()` or `message()` returned was used in a second `with`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"this {name}() block was entered before; call {name}() again for each `with`")
        self.name = name


class TransactionLost(Ap4rError):
    """The application's transaction ended, or was rolled back, within a block that had messages for it.

    What its end committed stays, messages and rows alike; what came after it is rolled back, except for rows on an
    autocommit connection, each of which the database has committed by itself.
    """

    def __init__(self, connection: str, problem: str) -> None:
        super().__init__(
            f"{connection}: {problem}; what came after it in the block is not stored, row or message "
            "(rows are, on an autocommit connection)"
        )
        self.connection = connection
        self.problem = problem


class StoreError(Ap4rError):
    """The store refused or failed. The driver's own error is the `__cause__`."""


class StoreUnavailable(StoreError):
    """The store cannot be used now (locked, full, unreadable, away); the same call may succeed later.

    `outcome_unknown` is true when the change may still have been made.
    """

    def __init__(self, store: str, problem: str, *, outcome_unknown: bool = False, is_connection: bool = False) -> None:
        problem = in_one_line(problem)
        place = store if is_connection else f"store {store}"
        super().__init__(f"{place}: {problem}" + (" (outcome unknown)" if outcome_unknown else ""))
        self.store = store
        self.problem = problem
        self.outcome_unknown = outcome_unknown


class StoreUnusable(StoreError):
    """The store's URL or file cannot be a store of ap4r; waiting does not help."""

    def __init__(self, store: str, problem: str) -> None:
        problem = in_one_line(problem)
        super().__init__(f"store {store}: {problem}")
        self.store = store
        self.problem = problem


class SchemaMismatch(StoreUnusable):
    """The store's tables are of another version than this code needs."""

    def __init__(self, store: str, found: str, expected: str, command: str) -> None:
        tables = "it has no tables of ap4r" if found == NO_TABLES else f"its tables are of version {found}"
        super().__init__(store, f"{tables}, this ap4r needs {expected}; run: {command}")
        self.found = found
        self.expected = expected
        self.command = command


class OwnerLost(StoreError):
    """This dispatcher was considered dead and its leases were given to others; it must register again."""

    def __init__(self, owner: str) -> None:
        super().__init__(f"dispatcher {owner} was considered dead and its messages were given to others")
        self.owner = owner


def _restored(kind: type[Ap4rError], args: tuple[object, ...]) -> Ap4rError:
    return kind.__new__(kind, *args)
