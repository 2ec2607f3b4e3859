"""A store's figures as lines for a person. Pure: figures in, lines out."""

from __future__ import annotations

from collections.abc import Sequence

from ap4r.control.diagnosis import what_is_held
from ap4r.storage.store import COUNT_LIMIT, QueueStatus, StoreStatus

_AT_LEAST = f"+ at least so many: counting stops at {COUNT_LIMIT:,}"


def status_lines(store: str, status: StoreStatus) -> list[str]:
    """Give what waits in a store, what is dead, and who delivers."""
    queues: list[tuple[str, ...]] = [("QUEUE", "READY", "SCHEDULED", "IN FLIGHT", "DEAD", "OLDEST DUE")]
    queues += [_queue_row(queue) for queue in status.queues]
    dispatchers: list[tuple[str, ...]] = [("DISPATCHER", "", "IN FLIGHT", "LAST SEEN")]
    for one in status.dispatchers:
        state = "alive" if one.alive else f"no heartbeat for {one.seen_seconds:.0f} s"
        dispatchers.append((one.name, state, str(one.leased), f"{one.seen_seconds:.0f} s ago"))
    held: list[tuple[str, ...]] = [("HELD QUEUE", "TARGET", "SINCE", "NEXT CALL", "WHY")]
    held += [
        (one.queue or "all", one.origin, f"{one.since_seconds:.0f} s", f"in {one.until_seconds:.0f} s", one.why)
        for one in what_is_held(status)
    ]
    return [
        f"store {store}",
        *(_table(queues) if status.queues else ["no messages"]),
        *([_AT_LEAST] if any(queue.at_least for queue in status.queues) else []),
        "",
        *(_table(dispatchers) if status.dispatchers else ["no dispatcher; start one with: twistd -n ap4r"]),
        *(["", *_table(held)] if len(held) > 1 else []),
    ]


def _queue_row(queue: QueueStatus) -> tuple[str, ...]:
    counts = {"ready": queue.ready, "scheduled": queue.scheduled, "leased": queue.leased, "dead": queue.dead}
    age = f"{queue.oldest_due_seconds:.1f} s" if queue.ready else ""
    return (queue.queue, *(f"{count:,}{'+' * (name in queue.at_least)}" for name, count in counts.items()), age)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
