"""Run the demo: `python -m demo` until Ctrl-C; `python -m demo --once` ends by itself and checks the result."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from demo.customers import MESSAGES_PER_ORDER, Order, Placed, invent_orders, place
from demo.invariants import check_invariants, outstanding, read_effects
from demo.journal import Journal
from demo.programs import DidNotStart
from demo.screen import Screen
from demo.stage import Stage

ORDER_EVERY_SECONDS = 0.4
#: With --once: the number of orders, and those during which the warehouse is down.
ORDERS, AWAY_FROM, AWAY_UNTIL = 30, 10, 20
#: Without: the warehouse is down for so many orders out of so many.
CYCLE, AWAY_IN_CYCLE = 60, range(30, 42)
SETTLE_WITHIN_SECONDS = 45.0


class Demo:
    """Places the customers' orders, shows the messages, and checks the result."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._journal = Journal(stage.dispatcher.log)
        self._placed: list[Placed] = []
        self._lines: list[str] = []
        self._began = time.monotonic()

    def run_once(self) -> bool:
        """Place some orders, wait until all messages are done, and return whether the result is correct."""
        orders = invent_orders()
        for index in range(ORDERS):
            self._switch_warehouse(not AWAY_FROM <= index < AWAY_UNTIL)
            self._place(next(orders))
            self._show_for(ORDER_EVERY_SECONDS)
        self._say("the customers go home; what is left is delivered", "bold")
        deadline = time.monotonic() + SETTLE_WITHIN_SECONDS
        while self._outstanding() > 0 and time.monotonic() < deadline:
            self._show_for(0.5)
        # The last outcomes are stored some milliseconds after their effects are in the ledgers.
        self._show_for(1.0)
        return self._check()

    def run_on(self) -> None:
        """Place orders until Ctrl-C."""
        for index, order in enumerate(invent_orders()):
            self._switch_warehouse(index % CYCLE not in AWAY_IN_CYCLE)
            self._place(order)
            self._show_for(ORDER_EVERY_SECONDS * 2)

    def finish(self) -> None:
        """Draw the figures for the last time."""
        self._show()
        if not self._screen.live:
            self._screen.write(self._panel())

    def _switch_warehouse(self, wanted: bool) -> None:
        warehouse = self._stage.warehouse
        if warehouse.running and not wanted:
            warehouse.stop()
            self._say("the warehouse goes down", "red")
        elif wanted and not warehouse.running:
            self._stage.start_warehouse()
            self._say("the warehouse is back", "green")

    def _place(self, order: Order) -> None:
        placed = place(order, self._stage.app_port)
        self._placed.append(placed)
        text = f"order {placed.order.number} by {placed.order.mail}: answered {placed.status}, "
        if placed.kept:
            self._say(f"{text}{MESSAGES_PER_ORDER} messages kept", "cyan")
        else:
            self._say(f"{text}{MESSAGES_PER_ORDER} messages dropped (card {placed.order.card})", "grey")

    def _say(self, text: str, colour: str) -> None:
        self._lines.append(f"{time.monotonic() - self._began:6.1f} s  {self._screen.paint(text, colour)}")

    def _show_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            self._show()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(0.1, left))

    def _show(self) -> None:
        if not self._stage.dispatcher.running:
            raise DidNotStart(f"the dispatcher has ended\n{self._stage.dispatcher.last_lines()}")
        for text, colour in self._journal.news():
            self._say(text, colour)
        lines, self._lines = self._lines, []
        self._screen.draw(lines, self._panel())

    def _panel(self) -> list[str]:
        kept = sum(one.kept for one in self._placed)
        dropped = len(self._placed) - kept
        paint = self._screen.paint
        lines = ["", paint("              stored  dropped  delivered  retried      dead    pending", "bold")]
        for name, tally in self._journal.tallies.items():
            under_way = kept - tally.delivered - tally.dead
            state = "" if name != "warehouse" or self._stage.warehouse.running else paint("  down", "red")
            cells = (f"{kept:8}", f"{dropped:9}", f"{tally.delivered:11}", f"{tally.retried:9}", f"{tally.dead:10}")
            colours = ("cyan", "grey", "green", "yellow", "red")
            painted = "".join(paint(cell, colour) for cell, colour in zip(cells, colours, strict=True))
            lines.append(f"  {name:10}{painted}{under_way:11}{state}")
        return [*lines, "", *self._stage.directions()]

    def _outstanding(self) -> int:
        effects = read_effects(self._stage.shop_db, self._stage.warehouse_ledger)
        return outstanding(self._placed, effects, sum(tally.dead for tally in self._journal.tallies.values()))

    def _check(self) -> bool:
        effects = read_effects(self._stage.shop_db, self._stage.warehouse_ledger)
        status, dead = self._stage.ask("status"), self._stage.ask("dead")
        retried = sum(tally.retried for tally in self._journal.tallies.values())
        results = check_invariants(self._placed, effects, status, dead, retried)
        self.finish()
        lines = ["", "Expected results, by the shop's and the warehouse's own records:"]
        for holds, text in results:
            lines.append(self._screen.paint(f"  ✓ {text}", "green") if holds else f"  ✗ {text}")
        self._screen.write(lines)
        return all(holds for holds, _ in results)


def main() -> int:
    """Run the demo; return its exit code."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end by itself; exit 0 only if all was as it should be")
    once = parser.parse_args().once
    # A closed terminal or a SIGTERM ends the demo as Ctrl-C does: with everything that it started.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    # A terminal without a character shows a replacement.
    sys.stdout.reconfigure(errors="replace")
    screen = Screen()
    folder = Path(tempfile.mkdtemp(prefix="ap4r-demo-"))
    stage = Stage(folder)
    code = 1
    try:
        stage.start()
        demo = Demo(stage, screen)
        if once:
            code = _end_once(demo.run_once(), stage, screen)
        else:
            demo.run_on()
    except KeyboardInterrupt:
        screen.write(["", "ending …"])
        code = 1 if once else 0
    except DidNotStart as error:
        screen.write([f"demo: {error}"])
    finally:
        # A second Ctrl-C must not leave anything behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stage.stop()
        if code:
            screen.write([f"demo: its files are in {folder}"])
        else:
            shutil.rmtree(folder)
    return code


def _end_once(right: bool, stage: Stage, screen: Screen) -> int:
    code = stage.stop()
    if code:
        screen.write([f"  ✗ the dispatcher ended with exit code {code}, not 0"])
    return 0 if right and not code else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
