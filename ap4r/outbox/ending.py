"""How what a handle holds comes to its end: written at the verdict or before it, or dropped.

It says no messages, and knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Callable

from ap4r.errors import StoreError, TransactionOpen
from ap4r.outbox.blocks import Blocks
from ap4r.outbox.outbox import On, Outbox, Sealed, Verdict
from ap4r.outbox.writer import Writer


class Ending(Blocks):
    """An outbox with its blocks, and the writer that it ends in."""

    __slots__ = ("_find_writer",)

    _find_writer: Callable[[], Writer]

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing waits for the verdict."""
        return self._outbox is None or self._outbox.is_empty

    @property
    def closed(self) -> bool:
        """Tell whether the verdict was given."""
        return self._closed

    def commit(self) -> None:
        """Write now what waits for success, without waiting for the response; a stream flows on freely.

        Messages with on="failure" and blocks that are still open stay. It may be called again for later messages.

        :raises StoreError: it is not stored. The messages stay held and follow the next commit() or the verdict;
            with `outcome_unknown` they may be stored all the same.
        :raises HandleClosed: the request has its verdict already.
        """
        with self._lock:
            outbox = self._open_outbox()
        with outbox.writing:
            with self._lock:
                sealed = self._open_outbox().seal(Verdict.COMMIT)
            self._write(outbox, sealed)

    def rollback(self) -> None:
        """Drop what waits for success. Messages with another `on`, and blocks that are still open, stay.

        :raises HandleClosed: the request has its verdict already.
        """
        with self._lock:
            outbox = self._open_outbox()
        with outbox.writing, self._lock:
            self._open_outbox().drop(On.SUCCESS)

    def restart(self) -> None:
        """Drop everything that was said and is not stored, whatever it waits for: the request's work begins again.

        For what repeats a request's work within the request, as pyramid_retry does: messages of a failed attempt must
        not be stored with those of the next. What `commit()` or a transaction has stored stays stored.

        :raises HandleClosed: the request has its verdict already.
        """
        with self._lock:
            outbox = self._open_outbox()
        with outbox.writing, self._lock:
            self._open_outbox().clear()

    @property
    def success_count(self) -> int:
        """The number of messages that wait for success."""
        outbox = self._outbox
        if outbox is None:
            return 0
        with self._lock:
            return outbox.success_count

    def would_write(self, verdict: Verdict) -> bool:
        """Tell whether this verdict, given now, would write anything."""
        outbox = self._outbox
        if outbox is None or outbox.is_empty:
            return False
        with self._lock:
            return outbox.would_write(verdict)

    @property
    def has_open_messages(self) -> bool:
        """Tell whether a `transaction()` block that is still open holds a message."""
        outbox = self._outbox
        if outbox is None:
            return False
        with self._lock:
            return outbox.has_open_messages

    def conclude(self, verdict: Verdict) -> None:
        """Give the verdict: write what follows it, drop the rest, take nothing more. The first verdict stands.

        :raises StoreError: what follows the verdict is not stored, or with `outcome_unknown` perhaps is.
        :raises TransactionOpen: COMMIT came before the end of a block with messages; ABORT was given in its place.
        """
        with self._lock:
            given_before, self._closed = self._closed, True
        if given_before or self._outbox is None:
            return
        try:
            self._follow(self._outbox, verdict)
        finally:
            # For transactions whose end shows nowhere: by now they should have come to it.
            for ring in self._late_bells:
                ring()

    def close_unused(self) -> bool:
        """Take nothing more if nothing was ever said, whatever the verdict would be; tell whether it was so."""
        with self._lock:
            if self._outbox is not None or self._closed:
                return False
            self._closed = True
        return True

    def _follow(self, outbox: Outbox, verdict: Verdict) -> None:
        with outbox.writing:
            with self._lock:
                too_early = verdict is Verdict.COMMIT and outbox.has_open_messages
                sealed = outbox.seal(Verdict.ABORT if too_early else verdict)
            self._write(outbox, sealed)
        if too_early:
            raise TransactionOpen

    def _write(self, outbox: Outbox, sealed_ones: list[Sealed]) -> None:
        for sealed in sealed_ones:
            try:
                self._find_writer().write(sealed.put)
            except StoreError as error:
                if not getattr(error, "outcome_unknown", False):
                    with self._lock:
                        outbox.unseal(sealed)
                raise
            with self._lock:
                outbox.settle(sealed)
