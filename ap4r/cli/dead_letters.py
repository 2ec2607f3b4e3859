"""A dead letter for a person and for machines. Pure."""

from __future__ import annotations

import datetime
from dataclasses import asdict
from typing import Any

from ap4r.cli.terminal import is_visible
from ap4r.storage.store import DeadLetter


def letter_lines(letter: DeadLetter) -> list[str]:
    """Say which message it is, why it was given up, and what its target answered."""
    status = "" if letter.status is None else f" {letter.status}"
    died_at = datetime.datetime.fromtimestamp(letter.died_at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        f"{letter.message.id}  {letter.message.queue}  {letter.message.method} {letter.message.target}",
        f"    {letter.reason}{status} at {died_at}, after {_attempts(letter.attempt)}",
    ]
    if letter.detail.strip():
        lines.append(f"    {_printable(' '.join(letter.detail.split())[:160])}")
    return lines


def _attempts(count: int) -> str:
    return "1 attempt" if count == 1 else f"{count} attempts"


def letter_json(letter: DeadLetter) -> dict[str, Any]:
    """Give all that is known of it but the body, of which only the size is told."""
    message = letter.message
    values = asdict(letter)
    values["message"] = {
        "id": message.id,
        "queue": message.queue,
        "method": message.method,
        "target": str(message.target),
        "delivery": message.delivery,
        "body_bytes": len(message.body),
    }
    return values


def _printable(text: str) -> str:
    # What a target answered must not steer the terminal of its reader.
    return "".join(character if is_visible(character) else "\N{REPLACEMENT CHARACTER}" for character in text)
