"""The table of docs/settings.md, made from the settings. Run as a program it rewrites both documents."""

from __future__ import annotations

import dataclasses

from ap4r.dispatcher.http_server.openapi import document
from ap4r.settings.settings import Settings
from tests.meta.tree import ROOT

DOCUMENT = ROOT / "docs" / "settings.md"
BEGIN, END = "<!-- table of settings: `make docs` writes it -->\n", "<!-- end of table -->\n"


def settings_table() -> str:
    """Write every setting with its default and meaning, in the order of the class."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for spec in dataclasses.fields(Settings):
        choices = spec.metadata["choices"]
        meaning = spec.metadata["says"].replace("|", "\\|")
        if choices:
            meaning += " (" + " or ".join(f"`{choice}`" for choice in choices) + ")"
        lines.append(f"| `{spec.name}` | {_shown(spec.default)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return " ".join(f"`{part}`" for part in default) or "none"
    if isinstance(default, (int, float)):
        return f"{default:,g}" if default < 1_000_000 else f"{int(default):,}"
    return f"`{default}`"


def main() -> None:
    """Write the table into the document, and the OpenAPI document beside it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    DOCUMENT.write_text(head + BEGIN + settings_table() + END + rest.split(END)[1], encoding="utf-8")
    (DOCUMENT.parent / "openapi.json").write_bytes(document())


if __name__ == "__main__":
    main()
