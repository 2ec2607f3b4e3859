"""The tables of the documentation that are made from the code. Run as a program it writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ap4r.describe.options import OPTIONS
from ap4r.dispatcher.http_server.openapi import document
from ap4r.settings.fields import default_text, info_of
from ap4r.settings.settings import Settings
from tests.meta.tree import ROOT

_DOCS = ROOT / "docs"
#: The arguments of `async_to` that are not options.
_ARGUMENTS = (
    '| `target` | a path, an absolute `http:` or `https:` URL, `{"url": …}`, `{"controller": …, "action": …}` or '
    '[`{"endpoint": …}`](calling.md#targets-by-name) | |',
    "| `params` | any value that the format or the protocol can encode; with GET and HEAD a mapping becomes the query "
    "| nothing |",
)
#: The options of X-AP4R that are no options of a message.
_X_AP4R = (
    "| `target_url` | the target: a URL, or a path of the application. Required |",
    "| `dispatch_mode` | `HTTP` |",
)


class Table(NamedTuple):
    """A table of a document, between two comments."""

    path: Path
    name: str
    lines: Callable[[], str]

    def parted(self) -> tuple[str, str, str]:
        """Return the document before the table, the table, and the document after it."""
        begin = f"<!-- table of {self.name}: `make docs` writes it -->\n"
        end = f"<!-- end of the table of {self.name} -->\n"
        before, rest = self.path.read_text(encoding="utf-8").split(begin)
        table, after = rest.split(end)
        return before + begin, table, end + after

    def write(self) -> None:
        """Write the table into the document."""
        before, _, after = self.parted()
        self.path.write_text(before + self.lines() + after, encoding="utf-8")


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


def async_to_table() -> str:
    """Write the arguments of `async_to`."""
    lines = ["| argument | meaning | default |", "|---|---|---|", *_ARGUMENTS]
    for option in OPTIONS:
        if option.in_async_to:
            default = option.default_doc or f'`"{option.default}"`'
            lines.append(f"| `{option.name}` | {option.doc} | {default} |")
    return "\n".join(lines) + "\n"


def x_ap4r_table() -> str:
    """Write the options of X-AP4R."""
    lines = ["| option | meaning |", "|---|---|", *_X_AP4R]
    lines += [f"| `{option.x_ap4r}` | {option.x_ap4r_doc} |" for option in OPTIONS if option.x_ap4r]
    lines.append("| `http_header_NAME` | a header of the call, with `_` in place of `-` |")
    return "\n".join(lines) + "\n"


TABLES = (
    Table(_DOCS / "settings.md", "settings", settings_table),
    Table(_DOCS / "handlers.md", "arguments", async_to_table),
    Table(_DOCS / "intake.md", "options", x_ap4r_table),
)


def main() -> None:
    """Write every table, and the OpenAPI document beside them."""
    for table in TABLES:
        table.write()
    (_DOCS / "openapi.json").write_bytes(document())


if __name__ == "__main__":
    main()
