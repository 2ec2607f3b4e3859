"""What the documents say is true: their code runs, their commands exist, their links lead somewhere."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import subprocess
import typing
from itertools import chain

import pytest
from twisted.internet.task import Clock

from ap4r.dispatcher.dispatcher import Dispatcher
from ap4r.dispatcher.http_server import openapi
from ap4r.dispatcher.http_server.health import due
from ap4r.events import events
from ap4r.events.bus import Events
from ap4r.outcome.response import Reason
from ap4r.settings.load import load_settings
from ap4r.storage.open import open_store
from ap4r.storage.schema.tables import Schema
from ap4r.storage.store import StoreStatus
from tests.meta.tree import DOCUMENTS, ROOT, blocks

_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if any(blocks(path, "python"))], ids=lambda p: p.name)
def test_code_in_documents_runs(document, tmp_path, monkeypatch):
    """The Python in a document runs from top to bottom, as it stands there, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AP4R_STORE", f"sqlite:///{tmp_path}/ap4r.db")
    names: dict[str, object] = {"__name__": "document"}
    for block in blocks(document, "python"):
        # Empty lines in front make the line numbers of a traceback those of the document.
        code = compile("\n" * (block.line - 1) + block.text, str(document), "exec")
        if block.run:
            exec(code, names)


def _command_lines():
    for document in DOCUMENTS:
        for block in chain(blocks(document, "console"), blocks(document, "sh")):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words.pop(0)
                if words:
                    yield f"{document.name}: {line.strip()}", words


_COMMANDS = dict(_command_lines())


@pytest.mark.parametrize("line", [line for line, words in _COMMANDS.items() if words[0].endswith("twistd")])
def test_every_twistd_line_is_understood(line, monkeypatch):
    """The options of every `twistd -n ap4r …` in the documents exist."""
    from ap4r.tap import Options

    words = _COMMANDS[line]
    monkeypatch.chdir(ROOT / "examples" / "shop")
    Options().parseOptions(words[words.index("ap4r") + 1 :])


@pytest.mark.parametrize("line", [line for line, words in _COMMANDS.items() if words[0].split("/")[-1] == "ap4r"])
def test_every_ap4r_line_is_understood(line):
    """The options of every `ap4r …` in the documents exist."""
    from ap4r.cli.__main__ import command_line

    with command_line.make_context("ap4r", _COMMANDS[line][1:2]) as context:
        command_line.get_command(context, _COMMANDS[line][1]).make_context("ap4r", _COMMANDS[line][2:], parent=context)


@pytest.mark.parametrize("line", [line for line, words in _COMMANDS.items() if words[0] == "make"])
def test_every_make_line_has_its_target(line):
    """Every `make …` in the documents is a target that `make help` explains."""
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for word in _COMMANDS[line][1:]:
        assert "=" in word or re.search(rf"^  make {word} ", shown, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """A link to another file of the project names one that is there, and a heading that it has."""
    for file, heading in _LINK.findall(document.read_text(encoding="utf-8")):
        target = document.parent / file
        assert target.exists(), file
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_event_is_documented():
    """docs/operating.md tells of each event that the dispatcher can log."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    names = [event.__name__ for event in typing.get_args(events.Event)]
    assert all(dataclasses.is_dataclass(getattr(events, name)) for name in names)
    assert [name for name in names if f"`{name}`" not in text] == []


def test_every_line_of_the_log_is_documented():
    """docs/operating.md has each line that the dispatcher can write, with its level, and no other."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)` \| (debug|info|warn|error) \|", text, re.MULTILINE))
    written = set()
    for module in ("messages", "subscriber"):
        source = (ROOT / "ap4r" / "dispatcher" / "log" / f"{module}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Line":
                level, name = (ast.literal_eval(argument) for argument in node.args[:2])
                written.add((name, level))
    assert told == written


def test_every_reason_is_documented():
    """docs/operating.md tells what each reason of a failed attempt means."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert [reason.value for reason in Reason if f"| `{reason.value}` |" not in text] == []


def test_the_health_page_is_as_documented(tmp_path):
    """The example of /healthz in docs/operating.md has the keys of a real answer."""
    [shown] = (json.loads(block.text) for block in blocks(ROOT / "docs" / "operating.md", "json"))
    settings = load_settings(store=f"sqlite:///{tmp_path}/ap4r.db", bell="none")
    dispatcher = Dispatcher(Clock(), [open_store(settings.store, settings)], settings, Events())
    facts = dispatcher.facts()
    assert list(shown) == list(facts)
    for store in shown["stores"]:
        assert list(store) == [*facts["stores"][0], "due"]
        assert list(store["due"]) == list(due(StoreStatus()))


def test_every_table_is_documented():
    """docs/architecture.md tells what each table of the store is for, and of no other."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Tables")[1].split("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(told) == sorted(Schema("").metadata.tables)


def test_the_openapi_document_is_what_is_served():
    """docs/openapi.json is what /openapi.json answers (mend: make docs)."""
    assert (ROOT / "docs" / "openapi.json").read_bytes() == openapi.document()
