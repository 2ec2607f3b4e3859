"""The messages that a handle holds until the verdict, and what each verdict does with them.

It takes no lock and stores nothing: the handle does both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ap4r.errors import OptionRefused, PayloadTooLarge
from ap4r.message.message import Message, Put, new_id
from ap4r.settings.settings import Settings


class Verdict(StrEnum):
    """The outcome of a request."""

    COMMIT = "commit"
    ABORT = "abort"


class On(StrEnum):
    """The verdict that a message waits for."""

    SUCCESS = "success"
    FAILURE = "failure"
    ALWAYS = "always"

    def follows(self, verdict: Verdict) -> bool:
        """Return whether a message that waits for this is stored after `verdict`: any but one for the other."""
        return self is not _other(verdict)


# Each request uses them, and a look-up in an Enum goes through its metaclass.
_COMMIT, _SUCCESS, _FAILURE = Verdict.COMMIT, On.SUCCESS, On.FAILURE


def _other(verdict: Verdict) -> On:
    """Return what is not stored after a verdict."""
    return _FAILURE if verdict is _COMMIT else _SUCCESS


def check_on(on: object) -> On:
    """Validate the `on` of `async_to`.

    :raises OptionRefused: it is unknown; the text names the known values.
    """
    if on == "success":
        return _SUCCESS
    for known in On:
        if on == known:
            return known
    raise OptionRefused("on", on, f"use one of {', '.join(On)}")


class PendingMessage(NamedTuple):
    """A message, the verdict it waits for, and the bytes that it counts."""

    message: Message
    on: On
    size: int


@dataclass(slots=True, eq=False)
class OpenBlock:
    """The messages of one block that is still open, and the thread that opened it.

    With an `outlet` they go to the application's own transaction and do not depend on the request's verdict. While
    `is_passed` is true, messages bypass the block and go to the one around it that has an outlet.
    """

    thread: int
    outlet: Any = None
    is_passed: Callable[[], bool] | None = None
    entries: list[PendingMessage] = field(default_factory=list)
    passed_count: int = 0
    passed_bytes: int = 0


class Sealed(NamedTuple):
    """Entries that are being stored. The put's id is created once, so that storing it again changes nothing."""

    put: Put
    entries: list[PendingMessage]


class PendingMessages:
    """The messages of one request, in the order in which they were sent, and the open blocks of its threads."""

    __slots__ = ("_blocks", "_bytes", "_count", "_entries", "_limits", "_sealed", "writing")

    def __init__(self, limits: Settings) -> None:
        #: Held during a put, so that the verdict waits for a commit() of another thread.
        self.writing = threading.Lock()
        self._limits = limits
        self._entries: list[PendingMessage] = []
        self._blocks: dict[int, list[OpenBlock]] = {}
        self._sealed: list[Sealed] = []
        self._count = 0
        self._bytes = 0

    def take(self, message: Message, on: On, thread: int) -> Any:
        """Hold a message: in the innermost block that `thread` has open, else in the outbox itself.

        Return the outlet that stores it at once instead, if there is one; then it counts until its block ends.

        :raises PayloadTooLarge: the request holds too many messages or bytes; this one is not held.
        :raises OptionRefused: it waits for another verdict than that of the transaction around it.
        """
        entry = PendingMessage(message, on, message.size)
        if not self._blocks:
            self._count_in(entry.size)
            self._entries.append(entry)
            return None
        if self.outlet_of(thread) is not None and on is not On.SUCCESS:
            advice = "within transaction(conn) or join(conn) a message follows only that transaction"
            raise OptionRefused("on", on, advice)
        blocks = self._blocks.get(thread)
        block = blocks[-1] if blocks else None
        if blocks and block is not None and block.is_passed is not None and block.is_passed():
            block = _innermost(blocks)
        if block is None or block.outlet is None:
            self._count_in(entry.size)
            (self._entries if block is None else block.entries).append(entry)
            return None
        if block.outlet.is_counted:
            self._count_in(entry.size)
            block.passed_count += 1
            block.passed_bytes += entry.size
        return block.outlet

    def _count_in(self, more: int) -> None:
        size = self._bytes + more
        if self._count >= self._limits.max_messages:
            raise PayloadTooLarge(
                "the messages of one request", self._count + 1, self._limits.max_messages, "max_messages"
            )
        # A single message has limits of its own: raising them is enough.
        if self._count and size > self._limits.max_request_bytes:
            raise PayloadTooLarge(
                "the bytes of one request's messages", size, self._limits.max_request_bytes, "max_request_bytes"
            )
        self._count += 1
        self._bytes = size

    def outlet_of(self, thread: int) -> Any:
        """Return the outlet for the next message of `thread`, if it does not follow the verdict; else None.

        A block whose transaction has ended meanwhile accepts nothing more.
        """
        while (block := _innermost(self._blocks.get(thread, ()))) is not None and block.outlet.is_over:
            self.close_block(block, keep=True)
        return None if block is None else block.outlet

    def open_block(self, thread: int, outlet: Any = None, is_passed: Callable[[], bool] | None = None) -> OpenBlock:
        """Open a group that enters the outbox, or goes to an outlet, together or not at all."""
        block = OpenBlock(thread, outlet, is_passed)
        self._blocks.setdefault(thread, []).append(block)
        return block

    def close_block(self, block: OpenBlock, *, keep: bool) -> list[Message]:
        """End a block: its entries go to the block around it, else to the outbox; without `keep` they are dropped.

        Return the messages for the outlet of the block around it. A block that has ended already is ignored.
        """
        blocks = self._blocks.get(block.thread, [])
        if block not in blocks:
            return []
        place = blocks.index(block)
        around = blocks[place - 1] if place else None
        due: list[Message] = []
        if not keep:
            self._forget(block.entries)
        elif around is not None and around.outlet is not None:
            self._forget(block.entries)
            due = [entry.message for entry in block.entries]
        elif around is not None:
            around.entries.extend(block.entries)
        else:
            self._entries.extend(block.entries)
        self._count -= block.passed_count
        self._bytes -= block.passed_bytes
        del blocks[place]
        if not blocks:
            del self._blocks[block.thread]
        return due

    @property
    def is_empty(self) -> bool:
        """Whether no message waits for a verdict, not even in a block that is still open."""
        return not (self._entries or self._sealed or (self._blocks and self.has_open_messages))

    @property
    def has_open_messages(self) -> bool:
        """Whether a block that is still open holds a message: its end must come before the verdict.

        Messages that go to an outlet do not count.
        """
        for blocks in self._blocks.values():
            for block in blocks:
                if block.outlet is not None:
                    break
                if block.entries:
                    return True
        return False

    def would_write(self, verdict: Verdict) -> bool:
        """Return whether this verdict, given now, would store anything."""
        if verdict is _COMMIT and (self._sealed or (self._blocks and self.has_open_messages)):
            return True
        other = _other(verdict)
        for entry in self._entries:  # noqa: SIM110 - half the time of any(), and each request with messages needs it
            if entry.on is not other:
                return True
        return False

    def seal(self, verdict: Verdict) -> list[Sealed]:
        """Return everything that has to be stored after this verdict, the oldest first, and hold it no more.

        What was sealed before and is not settled is returned again, unchanged: the store may have it already, and only
        the same put under the same id changes nothing. ABORT drops what is in doubt, and it is not stored again.
        """
        other = _other(verdict)
        taken = [entry for entry in self._entries if entry.on is not other]
        if verdict is not _COMMIT:
            for sealed in self._sealed:
                self._forget(sealed.entries)
            self._sealed.clear()
        if taken:
            self._entries = [entry for entry in self._entries if entry.on is other]
            # A single message lends its own id to the put: that too is created once.
            put_id = taken[0].message.id if len(taken) == 1 else new_id()
            put = Put(put_id, tuple([entry.message for entry in taken]))
            self._sealed.append(Sealed(put, taken))
        return list(self._sealed)

    def settle(self, sealed: Sealed) -> None:
        """Drop what is stored."""
        self._sealed.remove(sealed)
        self._forget(sealed.entries)

    def unseal(self, sealed: Sealed) -> None:
        """Put back what is certainly not stored, so that it follows a later verdict."""
        self._sealed.remove(sealed)
        self._entries[:0] = sealed.entries

    def drop(self, on: On) -> None:
        """Drop the entries that wait for `on`, and with success also those in doubt. Open blocks stay."""
        dropped = [entry for entry in self._entries if entry.on is on]
        self._entries = [entry for entry in self._entries if entry.on is not on]
        self._forget(dropped)
        if on is On.SUCCESS:
            for sealed in self._sealed:
                self._forget(sealed.entries)
            self._sealed.clear()

    def clear(self) -> None:
        """Drop everything, including what is in doubt and what open blocks hold. The blocks stay open."""
        waiting = [self._entries, *(sealed.entries for sealed in self._sealed), *self._held_in_blocks()]
        for entries in waiting:
            self._forget(entries)
        for held in (self._entries, *self._held_in_blocks()):
            held.clear()
        self._sealed.clear()

    @property
    def success_count(self) -> int:
        """The number of messages that wait for success."""
        entries = [self._entries, *(sealed.entries for sealed in self._sealed), *self._held_in_blocks()]
        return sum(entry.on is _SUCCESS for several in entries for entry in several)

    def _held_in_blocks(self) -> list[list[PendingMessage]]:
        return [block.entries for blocks in self._blocks.values() for block in blocks]

    def _forget(self, entries: Sequence[PendingMessage]) -> None:
        self._count -= len(entries)
        self._bytes -= sum([entry.size for entry in entries])


def _innermost(blocks: Sequence[OpenBlock]) -> OpenBlock | None:
    return next((block for block in reversed(blocks) if block.outlet is not None), None)
