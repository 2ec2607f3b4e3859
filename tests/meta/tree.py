"""Where the project's files are, and what stands in its documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "ap4r"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: .+ -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document. `run` is false where the document says, with a reason, that it is not run."""

    document: Path
    line: int
    language: str
    text: str
    run: bool

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"


def blocks(document: Path, language: str) -> Iterator[Block]:
    """Yield the fenced blocks of one language in a document, from top to bottom."""
    text = document.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        if match[1] == language:
            before = text[: match.start()]
            yield Block(document, before.count("\n") + 2, language, match[2], not _NOT_RUN.search(before))
