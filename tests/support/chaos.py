"""Kill -9 at random, by a seed: each process is killed in turn, in random order, and some at the same time."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.support.probe import let_pass


class Victim(NamedTuple):
    """Something that can be killed, and started again."""

    name: str
    kill: Callable[[], object]
    revive: Callable[[], object]


class Chaos:
    """Kills victims. It starts processes, so it runs in the main thread: they end with the thread that started them.

    :param up_seconds: the least and the longest time between two kills; `down_seconds` what a victim stays dead.
    """

    def __init__(
        self,
        victims: Sequence[Victim],
        chance: random.Random,
        *,
        up_seconds: tuple[float, float] = (0.5, 4.0),
        down_seconds: tuple[float, float] = (0.1, 2.0),
    ) -> None:
        self.kills: Counter[str] = Counter({victim.name: 0 for victim in victims})
        self._victims = victims
        self._chance = chance
        self._up = up_seconds
        self._down = down_seconds

    def rage(self, seconds: float) -> None:
        """Kill and start again for so long, and until each had its turn; then all of them are alive."""
        until, waiting = time.monotonic() + seconds, self._shuffled()
        while time.monotonic() < until or not all(self.kills.values()):
            let_pass(self._chance.uniform(*self._up))
            fallen = [waiting.pop() for _ in range(self._chance.choice((1, 1, 1, 2))) if waiting]
            waiting = waiting or self._shuffled()
            for victim in fallen:
                victim.kill()
                self.kills[victim.name] += 1
            let_pass(self._chance.uniform(*self._down))
            for victim in fallen:
                victim.revive()

    def _shuffled(self) -> list[Victim]:
        return self._chance.sample(self._victims, len(self._victims))
