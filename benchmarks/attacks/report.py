"""The results of a run: one table, and the faults."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.attacks.honest import Put
from benchmarks.attacks.system import Sample

#: Growth is looked for from here on; before it processes load what they need. Shorter runs are held to less.
WARM_UP_SECONDS = 300.0
_JUDGED_SECONDS = 900.0
#: How much of growth is none: of memory so many megabytes, of descriptors so many, and of both a tenth.
_STEADY_MEGABYTES, _STEADY_DESCRIPTORS, _STEADY_PART = 10.0, 8.0, 0.1
_KEPT_OPEN = 16  #: descriptors of a pool of connections, and of children, which stay for a minute

_MEASURED: tuple[tuple[str, Callable[[Sample], float], float], ...] = (
    ("dispatcher, RSS MB", lambda sample: sample.dispatcher_megabytes, _STEADY_MEGABYTES),
    ("dispatcher, descriptors", lambda sample: sample.dispatcher_descriptors, _STEADY_DESCRIPTORS),
    ("its children, RSS MB", lambda sample: sample.children_megabytes, float("inf")),
    ("its children", lambda sample: sample.children, float("inf")),
    ("web, RSS MB", lambda sample: sample.web_megabytes, _STEADY_MEGABYTES),
    ("web, descriptors", lambda sample: sample.web_descriptors, _STEADY_DESCRIPTORS),
)


@dataclass(frozen=True)
class Turn:
    """A time in which there were attacks, or none; of a quiet one that follows attacks the beginning is left out."""

    attacked: bool
    begins_at: float
    ends_at: float
    kind: str = ""  #: of attack, where a turn has one kind alone

    @property
    def name(self) -> str:
        """What the table calls it."""
        return (self.kind or "attacked") if self.attacked else "quiet"


@dataclass
class Found:
    """All that was found. Times are of the machine's monotonic clock."""

    began_at: float
    before: Sample
    after: Sample
    turns: list[Turn] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    cpu_seconds: dict[bool, Counter[str]] = field(default_factory=lambda: {False: Counter(), True: Counter()})
    measured_seconds: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})
    made: list[int] = field(default_factory=list)  #: attacks of callers, in each attacked turn
    puts: Sequence[Put] = ()
    arrived: dict[int, list[float]] = field(default_factory=dict)
    effects: tuple[int, int] = (0, 0)
    breaches: Sequence[str] = ()
    attacks: dict[str, dict[str, object]] = field(default_factory=dict)
    unsettled: int = 0
    dead: int = 0
    load: float = 0.0
    cores: str = ""
    longest_turns: Sequence[tuple[float, float]] = ()  #: of the dispatcher's reactor: when, and milliseconds of CPU

    def last_turn(self) -> str:
        """Return what the last turn was like, in words."""
        turn, sample = self.turns[-1], self.samples[-1]
        percentiles = _percentiles(self._latencies([turn]))
        told = ", ".join(f"{name} {percentiles[name]:.1f} ms" for name in percentiles)
        sizes = f"{sample.dispatcher_megabytes:.0f} MB, {sample.dispatcher_descriptors} descriptors"
        return (
            f"{turn.name}: {told}; dispatcher {sizes}, web {sample.web_megabytes:.0f} MB, load {os.getloadavg()[0]:.1f}"
        )

    def latencies(self, attacked: bool, through: str | None = None) -> list[float]:
        """Return the milliseconds from when puts of such turns were due to their arrival, in order."""
        return self._latencies([turn for turn in self.turns if turn.attacked == attacked], through)

    def _latencies(self, turns: Sequence[Turn], through: str | None = None) -> list[float]:
        return sorted(
            (self.arrived[put.number][0] - put.due_at) * 1000
            for put in self.puts
            if put.number in self.arrived
            and through in (None, put.through)
            and any(turn.begins_at <= put.due_at < turn.ends_at for turn in turns)
        )

    def typical(self, attacked: bool, kind: str | None = None) -> dict[str, float]:
        """Return the percentiles of a typical turn: of each the median over the turns.

        What else happens on the machine for a few seconds is in some turns, and not in the others.
        """
        turns = [turn for turn in self.turns if turn.attacked == attacked and kind in (None, turn.kind)]
        each = [_percentiles(found) for turn in turns if len(found := self._latencies([turn])) > 1]
        return {name: statistics.median(one[name] for one in each) for name in ("p50", "p99")}

    def ratios(self) -> dict[str, float]:
        """Return by what the percentiles of a typical attacked turn are larger than those of a quiet one."""
        quiet, attacked = self.typical(False), self.typical(True)
        return {name: attacked[name] / quiet[name] for name in quiet}

    def reactor(self, attacked: bool, kind: str | None = None) -> tuple[float, float]:
        """Return the longest turn of the reactor in a typical such turn, and in all of them, in milliseconds of CPU."""
        turns = [turn for turn in self.turns if turn.attacked == attacked and kind in (None, turn.kind)]
        most = [
            max((taken for at, taken in self.longest_turns if turn.begins_at <= at < turn.ends_at), default=0.0)
            for turn in turns
        ]
        return statistics.median(most), max(most)

    def lost(self) -> list[Put]:
        """List the puts that were answered with success and never arrived."""
        return [put for put in self.puts if put.outcome.startswith("2") and put.number not in self.arrived]

    def refused(self) -> list[Put]:
        """List the honest puts that were not answered with success."""
        return [put for put in self.puts if not put.outcome.startswith("2")]

    def doubled(self) -> int:
        """Count the messages that arrived more than once."""
        return sum(len(at) > 1 for at in self.arrived.values())

    def values(self, value: Callable[[Sample], float], attacked: bool) -> list[tuple[float, float]]:
        """Return what was sampled in such turns, each with the seconds since the beginning."""
        turns = [turn for turn in self.turns if turn.attacked == attacked]
        return [
            (sample.at - self.began_at, value(sample))
            for sample in self.samples
            if any(turn.begins_at <= sample.at < turn.ends_at for turn in turns)
        ]

    def faults(self, most: float) -> list[str]:
        """Return what is not as it should be, in words.

        :param most: by what the percentiles of latency may be larger under attack; 0: they are not judged.
        """
        found = [
            f"{name} is {ratio:.2f} times as long under attack"
            for name, ratio in self.ratios().items()
            if most and ratio > most
        ]
        # Of one kind alone there may be few in a turn, which end in the next one.
        is_of_all = not any(turn.kind for turn in self.turns)
        if is_of_all and (not min(self.made) or min(self.made) * 2 < statistics.median(self.made)):
            found.append(f"attacks were not made in every turn that should have them: {self.made}")
        if lost := self.lost():
            found.append(f"{len(lost)} honest messages are lost: {[put.number for put in lost[:10]]}")
        if refused := self.refused():
            outcomes = dict(Counter(f"{put.through}: {put.outcome}" for put in refused))
            found.append(f"{len(refused)} honest puts were not answered with success: {outcomes}")
        if self.doubled():
            found.append(f"{self.doubled()} honest messages arrived twice")
        if self.effects[1]:
            found.append(f"{self.effects[1]} effects of webhooks too many")
        if self.breaches:
            found.append(f"internal actions ran without a delivery: {self.breaches[:10]}")
        if self.unsettled:
            found.append(f"{self.unsettled} messages are not settled at the end")
        stayed = [kind for kind, told in self.attacks.items() if "CALLER STAYED" in str(told["outcomes"])]
        if stayed:
            found.append(f"hostile servers had enough before the dispatcher had: {stayed}")
        return found + self._growth()

    def _growth(self) -> list[str]:
        if self.turns[-1].ends_at - self.began_at < _JUDGED_SECONDS:
            # Too short for a slope; but what is held for good is still there when all is over.
            return [
                f"{name}: {value(self.before):g} before all, {value(self.after):g} after it"
                for name, value, _ in _MEASURED
                if name.endswith("descriptors") and value(self.after) > value(self.before) + _KEPT_OPEN
            ]
        found = []
        for name, value, steady in _MEASURED:
            for attacked in (False, True):
                values = self.values(value, attacked)
                late = [(at, number) for at, number in values if at >= WARM_UP_SECONDS]
                grown = _slope(late) * (late[-1][0] - late[0][0])
                if grown > max(steady, _STEADY_PART * statistics.mean(number for _, number in late)):
                    found.append(f"{name} grew by {grown:.1f} in {'attacked' if attacked else 'quiet'} turns")
        return found

    def table(self) -> str:
        """Write all of it for a person."""
        parts = (
            self._latency_rows,
            self._kind_rows,
            self._count_rows,
            self._cpu_rows,
            self._size_rows,
            self._attack_rows,
        )
        return "\n\n".join("\n".join(rows) for rows in (part() for part in parts) if rows)

    def _latency_rows(self) -> list[str]:
        rows = [f"{'honest latency, ms':30}{'quiet':>10}{'attacked':>10}{'ratio':>8}"]
        typical, under = self.typical(False), self.typical(True)
        rows += [
            f"{f'a typical turn, {name}':30}{typical[name]:>10.1f}{under[name]:>10.1f}{ratio:>8.2f}"
            for name, ratio in self.ratios().items()
        ]
        for label, through in (("all", None), ("put through the web", "web"), ("put through the intake", "intake")):
            quiet, attacked = (self.latencies(kind, through) for kind in (False, True))
            before, under = _percentiles(quiet), _percentiles(attacked)
            for name in before:
                ratio = under[name] / before[name]
                rows.append(f"{f'{label}, {name}':30}{before[name]:>10.1f}{under[name]:>10.1f}{ratio:>8.2f}")
            rows.append(f"{f'{label}, messages':30}{len(quiet):>10}{len(attacked):>10}")
        rows += ["", f"{'longest turn of the reactor, CPU ms':36}{'quiet':>4}{'attacked':>10}"]
        for place, label in enumerate(("a typical turn", "all turns")):
            rows.append(f"{label:30}{self.reactor(False)[place]:>10.1f}{self.reactor(True)[place]:>10.1f}")
        return rows

    def _kind_rows(self) -> list[str]:
        """Return a line for each kind that had turns of its own, those first under which the honest wait longest."""
        kinds = {turn.kind for turn in self.turns if turn.kind}
        if not kinds:
            return []
        found = {kind: (self.typical(True, kind), self.reactor(True, kind)[0]) for kind in kinds}
        return [
            f"{'one kind at a time':46}{'p50':>8}{'p99':>8}  longest turn of the reactor, CPU ms",
            *(
                f"{kind:46}{typical['p50']:>8.1f}{typical['p99']:>8.1f}{taken:>8.1f}"
                for kind, (typical, taken) in sorted(found.items(), key=lambda one: -one[1][0]["p99"])
            ),
        ]

    def _count_rows(self) -> list[str]:
        effects, more = self.effects
        return [
            f"honest messages: {len(self.puts)} put, {len(self.refused())} of them not stored, "
            f"{len(self.arrived)} arrived, {len(self.lost())} lost, {self.doubled()} doubled",
            f"webhooks: {effects} had their effect, {more} effects too many; "
            f"internal action reached without a delivery: {len(self.breaches)} spellings",
            f"messages of attackers at the end: {self.unsettled} unsettled, {self.dead} dead letters",
            f"attacks of callers in each attacked turn: from {min(self.made):,} to {max(self.made):,}",
            f"descriptors before all and after it: dispatcher {self.before.dispatcher_descriptors} and "
            f"{self.after.dispatcher_descriptors}, web {self.before.web_descriptors} and {self.after.web_descriptors}",
        ]

    def _cpu_rows(self) -> list[str]:
        rows = [f"{'CPU, % of one core':30}{'quiet':>10}{'attacked':>10}"]
        for name in self.cpu_seconds[True]:
            shares = [100 * self.cpu_seconds[kind][name] / self.measured_seconds[kind] for kind in (False, True)]
            rows.append(f"{name:30}{shares[0]:>10.1f}{shares[1]:>10.1f}")
        return rows

    def _size_rows(self) -> list[str]:
        seconds = self.turns[-1].ends_at - self.began_at
        rows = [f"{'':34}{'minute 5':>10}{'middle':>10}{'end':>10}{'most':>10}{'slope/h':>10}"]
        for name, value, _ in _MEASURED:
            for attacked in (False, True):
                values = self.values(value, attacked)
                cells = [_part(values, at) for at in (min(WARM_UP_SECONDS, seconds), seconds / 2, seconds)]
                cells.append(max(number for _, number in values))
                late = [(at, number) for at, number in values if at >= WARM_UP_SECONDS] or values
                label = f"{name}, {'attacked' if attacked else 'quiet'}"
                rows.append(f"{label:34}" + "".join(f"{cell:>10.1f}" for cell in [*cells, _slope(late) * 3600]))
        return rows

    def _attack_rows(self) -> list[str]:
        rows = [f"{'attacks':46}{'made':>8}  what became of them"]
        for kind, told in sorted(self.attacks.items()):
            outcomes = told["outcomes"]
            assert isinstance(outcomes, dict)
            became = ", ".join(f"{outcome}: {count}" for outcome, count in outcomes.items())
            sent = f"; at most {told['most_bytes']:,} bytes were taken" if told["most_bytes"] else ""
            rows.append(f"{kind:46}{sum(outcomes.values()):>8}  {became}{sent}")
        return rows


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": cuts[49], "p99": cuts[98]}


def _part(values: Sequence[tuple[float, float]], at: float) -> float:
    """Return the median of the samples within half a minute of a time, or of the nearest five."""
    nearest = sorted(values, key=lambda value: abs(value[0] - at))
    return statistics.median(number for place, (when, number) in enumerate(nearest) if place < 5 or abs(when - at) < 30)


def _slope(values: Sequence[tuple[float, float]]) -> float:
    """Return by how much a value grows a second, by least squares."""
    if len(values) < 2:
        return 0.0
    return statistics.linear_regression([at for at, _ in values], [number for _, number in values]).slope
