"""The layers hold: no module imports what is above or beside it."""

from __future__ import annotations

import graphlib
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.meta.tree import MODULES, PACKAGE, ROOT


def test_import_contracts_are_kept():
    """Every contract of pyproject.toml about who may import whom is kept, indirect imports included."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_no_module_imports_itself_in_a_circle():
    """No chain of imports leads from a module of ap4r back to it, imports for type checking aside."""
    graph = grimp.build_graph("ap4r", exclude_type_checking_imports=True, cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imported).prepare()
    except graphlib.CycleError as problem:
        pytest.fail(" imported by ".join(problem.args[1]))


def _imports(*modules: str) -> set[str]:
    """Import modules in a fresh Python; return the names of everything that came along."""
    program = f"import sys, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


def _modules_of(*folders: str) -> list[str]:
    names = []
    for path in MODULES:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        # Alembic runs env.py and the revisions itself; imported on their own they fail by design.
        if parts[0] in folders and "migrations" not in parts:
            names.append(".".join(("ap4r", *parts)).removesuffix(".__init__"))
    return names


def test_a_web_process_gets_no_twisted():
    """Importing everything that a web process may use brings in no Twisted, so no reactor is ever installed there."""
    came = _imports(*_modules_of("middleware", "outbox", "storage", "settings", "cli"))
    assert not {name for name in came if name.split(".")[0] in {"twisted", "treq"}}


def test_the_dispatcher_gets_no_werkzeug():
    """Importing everything that the dispatcher uses brings in no werkzeug and nothing of the middleware."""
    came = _imports(*_modules_of("dispatcher", "tap"))
    assert not {name for name in came if name.split(".")[0] == "werkzeug" or name.startswith("ap4r.middleware")}


def test_only_the_command_gets_a_terminal_library():
    """What a dispatcher, a web process or another face of ap4r.control imports brings in neither click nor rich."""
    came = _imports(*_modules_of("dispatcher", "tap", "middleware", "outbox", "inbox", "storage", "control"))
    assert not {"click", "rich"} & came


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_a_command_line_loads_what_it_needs(option):
    """`ap4r --version` and `ap4r --help` load neither a database library nor rich."""
    program = f"import sys; from ap4r.cli.__main__ import main; main(['{option}']); print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"sqlalchemy", "alembic", "rich", "twisted"} & set(done.stdout.split())


def test_importing_ap4r_costs_nothing():
    """`import ap4r` alone loads neither a database library nor Twisted."""
    assert not {"sqlalchemy", "alembic", "twisted", "werkzeug"} & _imports("ap4r")


@pytest.mark.parametrize("module", ["ap4r.middleware", "ap4r.tap", "ap4r.cli.__main__"])
def test_import_opens_nothing(module, tmp_path):
    """Importing starts no thread and makes no file."""
    program = f"import {module}, threading; print(threading.active_count())"
    environ = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environ, check=True
    )
    assert done.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []
