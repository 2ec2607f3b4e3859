"""Texts that people read are plain technical English: the words that hide a meaning stay out of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.meta.tree import ROOT

#: Documents and folders that are checked.
CHECKED = (
    "ap4r",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "docs",
    "examples",
    "benchmarks",
    "tests",
)
_WORDS = re.compile(
    r"(?<![^\W_])(?:nobody|whoever|somebody|everybody|anew|thereby|(?:took|takes?|taken) for dead|of its own accord"
    r"|(?:is|are|was|were) told(?! apart))"
    r"(?![^\W_])",
    re.IGNORECASE,
)
#: First words of a docstring that say less than Return, Record, Create, Read or Wait.
_FIRST_WORDS = ("Give", "Tell", "Take", "Have", "Let", "Say")


def _files() -> list[Path]:
    found = []
    for name in CHECKED:
        path = ROOT / name
        files = path.rglob("*") if path.is_dir() else [path]
        found += [file for file in files if file.suffix in (".md", ".py", ".json", "") and file.is_file()]
    return [file for file in found if file != Path(__file__) and "__pycache__" not in file.parts]


def _docstrings(tree: ast.AST) -> list[tuple[int, str]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(getattr(node, "lineno", 1), text) for node in nodes if (text := ast.get_docstring(node))]


@pytest.mark.parametrize("name", CHECKED)
def test_the_worst_words_are_absent(name):
    """No text, name or comment has a word of the list."""
    found = []
    for file in _files():
        relative = file.relative_to(ROOT)
        if relative.parts[0] == name:
            lines = file.read_text(encoding="utf-8").splitlines()
            found += [
                f"{relative}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if _WORDS.search(line)
            ]
    assert found == []


def test_docstrings_begin_with_usual_verbs():
    """A docstring begins with Return, Record or another usual verb."""
    found = []
    for file in _files():
        if file.suffix == ".py":
            for line, text in _docstrings(ast.parse(file.read_text(encoding="utf-8"))):
                if text.split(maxsplit=1)[0].rstrip(":,.") in _FIRST_WORDS:
                    found.append(f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}")
    assert found == []


@pytest.mark.parametrize("text", ["Nobody reads", "test_it_opens_anew", "taken for dead", "_whoever_comes"])
def test_the_list_finds(text):
    """The list finds its words in sentences and in names."""
    assert _WORDS.search(text)


@pytest.mark.parametrize("text", ["a new store", "any body", "renewed", "nobodies"])
def test_the_list_leaves_other_words_alone(text):
    """Parts of other words are not found."""
    assert not _WORDS.search(text)
