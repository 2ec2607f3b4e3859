"""How often each attack was made, and its outcomes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Of each kind of attack: how often each outcome came, and the most bytes that one of them could send."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    most_bytes: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, outcome: str, sent: int = 0) -> None:
        """Count one."""
        self.outcomes.setdefault(kind, Counter())[outcome] += 1
        self.most_bytes[kind] = max(sent, self.most_bytes.get(kind, 0))

    def as_json(self) -> dict[str, dict[str, object]]:
        """Return what was counted, by kind."""
        return {
            kind: {"outcomes": dict(outcomes.most_common()), "most_bytes": self.most_bytes[kind]}
            for kind, outcomes in self.outcomes.items()
        }
