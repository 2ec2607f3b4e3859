"""The house rules that a machine can hold."""

from __future__ import annotations

import ast
import subprocess
from collections import Counter, defaultdict

import pytest

from tests.meta.tree import MODULES, PACKAGE, ROOT

_EMPTY_WORDS = ("handler", "manager", "processor", "helper", "util", "common", "engine")
_TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def _name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_small_and_says_what_it_is(path):
    """A module has at most 500 lines, a docstring, and a name that says more than that it handles something."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 500
    assert ast.get_docstring(ast.parse(text)), "the module says nothing of itself"
    assert not [word for word in _EMPTY_WORDS if word in path.stem]


def test_a_public_class_name_is_used_once():
    """No two classes have one name, so that a name means one thing in the whole package."""
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(_name(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_a_folder_has_at_most_20_modules():
    """A reader sees at a glance what a folder holds; `__init__.py` does not count."""
    counts = Counter(_name(path.parent) for path in MODULES if path.name != "__init__.py")
    assert [folder for folder, count in counts.items() if count > 20] == []


def test_the_plugin_folder_is_no_package():
    """An __init__.py here would be installed over Twisted's own, and uninstalling would take that away."""
    assert [path.name for path in (PACKAGE / "twisted_plugins").glob("*.py")] == ["ap4r_plugin.py"]


@pytest.mark.parametrize("path", _TESTS, ids=_name)
def test_every_test_says_which_promise_it_holds(path):
    """Each test function has a docstring, the first thing a reader of a failure wants to know."""
    silent = [
        node.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("path", [path for path in _TESTS if "unit" in path.parts], ids=_name)
def test_unit_tests_do_not_wait(path):
    """A unit test moves a clock; it never sleeps and never runs the real reactor."""
    text = path.read_text(encoding="utf-8")
    for words in ("time.sleep", "asyncio.sleep", "from twisted.internet import reactor", "reactor.run"):
        assert words not in text


@pytest.mark.parametrize("script", [".ci/run", ".ci/prepare", ".ci/prepare-peers"])
def test_scripts_are_sound_bash(script):
    """The scripts parse, may be executed, and stop at the first failure."""
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    assert "set -euo pipefail" in path.read_text(encoding="utf-8")
    subprocess.run(["bash", "-n", path], check=True)
