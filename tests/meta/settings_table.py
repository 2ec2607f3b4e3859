"""The table of docs/settings.md, made from the settings. Run as a program it rewrites both documents."""

from __future__ import annotations

import dataclasses

from ap4r.dispatcher.http_server.openapi import document
from ap4r.settings.fields import default_text, info_of
from ap4r.settings.settings import Settings
from tests.meta.tree import ROOT

DOCUMENT = ROOT / "docs" / "settings.md"
BEGIN, END = "<!-- table of settings: `make docs` writes it -->\n", "<!-- end of table -->\n"


def settings_table() -> str:
    """Write every setting with its default and meaning, by section."""
    lines: list[str] = []
    section = ""
    for spec in dataclasses.fields(Settings):
        info = info_of(spec)
        if info.section != section:
            section = info.section
            lines += ["", f"### {section}", "", "| setting | default | meaning |", "|---|---|---|"]
        meaning = info.doc.replace("|", "\\|")
        if info.choices:
            meaning += " (" + " or ".join(f"`{choice}`" for choice in info.choices) + ")"
        marks = [f"`--{info.flag}`"] if info.flag else []
        marks += ["*restart*"] if info.needs_restart else []
        meaning += f" ({', '.join(marks)})" if marks else ""
        lines.append(f"| `{spec.name}` | {_shown(spec)} | {meaning} |")
    return "\n".join(lines) + "\n\n"


def _shown(spec: dataclasses.Field[object]) -> str:
    default = spec.default
    if isinstance(default, tuple):
        return " ".join(f"`{part}`" for part in default) or "none"
    is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
    return default_text(spec) if is_number else f"`{default_text(spec)}`"


def main() -> None:
    """Write the table into the document, and the OpenAPI document beside it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    DOCUMENT.write_text(head + BEGIN + settings_table() + END + rest.split(END)[1], encoding="utf-8")
    (DOCUMENT.parent / "openapi.json").write_bytes(document())


if __name__ == "__main__":
    main()
