"""`ap4r status`: what waits in each store, what is dead, and which dispatchers deliver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from ap4r.cli.arguments import config_and_json_options, stores_option
from ap4r.cli.output import say, say_error, write
from ap4r.cli.stores import report_on_each
from ap4r.control.diagnosis import what_is_held
from ap4r.control.status import StatusReport
from ap4r.control.status import status as read_status
from ap4r.storage.reports import COUNT_LIMIT, STUCK_SECONDS, DispatcherStatus, QueueStatus, StoreStatus


@click.command(epilog=f"Exits 1 when messages have been due for {STUCK_SECONDS:.0f} s and no dispatcher is alive.")
@stores_option
@config_and_json_options
def status(stores: tuple[str, ...], config: str | None, as_json: bool) -> int:
    """Show what waits, what is dead, and which dispatchers deliver."""
    return report_on_each(
        stores,
        config,
        lambda store, settings: read_status(store),
        show=_show,
        as_json=_json if as_json else None,
        needs_person=lambda report: report.stuck,
    )


def _json(report: StatusReport) -> object:
    return {"store": report.store, "stuck": report.stuck, **asdict(report.figures)}


def _show(report: StatusReport) -> None:
    say(f"store {report.store}")
    for paragraph in _paragraphs(report.figures):
        write(paragraph)
    if report.stuck:
        say_error(
            f"\nMessages have been due for {report.figures.oldest_due_seconds:.0f} s and no dispatcher of this store "
            f"is alive: {report.store}"
        )


def _paragraphs(figures: StoreStatus) -> Iterator[str]:
    # rich takes long to import, and --json needs none.
    from ap4r.cli.tables import Column, table

    if figures.queues:
        counts = [Column(name) for name in ("READY", "SCHEDULED", "IN FLIGHT", "DEAD", "OLDEST DUE")]
        yield table([Column("QUEUE", is_text=True), *counts], [_queue_row(queue) for queue in figures.queues])
    else:
        yield "no messages"
    if any(queue.at_least for queue in figures.queues):
        yield f"+ at least so many: counting stops at {COUNT_LIMIT:,}"
    yield ""
    if figures.dispatchers:
        columns = [Column("DISPATCHER", is_text=True), Column(""), Column("IN FLIGHT"), Column("LAST SEEN")]
        yield table(columns, [_dispatcher_row(one) for one in figures.dispatchers])
    else:
        yield "no dispatcher; start one with: twistd -n ap4r"
    held = what_is_held(figures)
    if held:
        yield ""
        yield table(
            [
                *(Column("HELD QUEUE", is_text=True), Column("TARGET", is_text=True), Column("SINCE")),
                *(Column("NEXT CALL"), Column("WHY", is_text=True)),
            ],
            [
                (one.queue or "all", one.origin, f"{one.since_seconds:.0f} s", f"in {one.until_seconds:.0f} s", one.why)
                for one in held
            ],
        )


def _queue_row(queue: QueueStatus) -> tuple[str, ...]:
    counts = {"ready": queue.ready, "scheduled": queue.scheduled, "leased": queue.leased, "dead": queue.dead}
    age = f"{queue.oldest_due_seconds:.1f} s" if queue.ready else ""
    return (queue.queue, *(f"{count:,}{'+' * (name in queue.at_least)}" for name, count in counts.items()), age)


def _dispatcher_row(one: DispatcherStatus) -> tuple[str, ...]:
    state = "alive" if one.alive else f"no heartbeat for {one.seen_seconds:.0f} s"
    return one.name, state, str(one.leased), f"{one.seen_seconds:.0f} s ago"
