"""The wheel brings the twistd plugin along, and leaves Twisted as it found it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from ap4r import __version__
from tests.meta.tree import MODULES, PACKAGE, ROOT

_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"


def _run(*command: str | Path, **options) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AP4R_", "PIP_"))}
    done = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy of the sources, so that no build folder is left among them."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(PACKAGE, copy / "ap4r", ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    _run(*_PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, copy)
    [built] = folder.glob("*.whl")
    return built


class Fresh:
    """A venv of its own. Twisted is copied into it; what Twisted needs is borrowed from the running Python."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.python = folder / "bin" / "python"
        self.folder = folder
        scheme = {"base": str(folder), "platbase": str(folder)}
        self.site = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
        borrowed = Path(sysconfig.get_path("purelib"))
        skipped = shutil.ignore_patterns("__pycache__", "test", "dropin.cache")
        shutil.copytree(borrowed / "twisted", self.site / "twisted", ignore=skipped)
        # A .pth file among the borrowed packages is not read, so an ap4r that is installed there stays unseen.
        (self.site / "borrowed.pth").write_text(f"{borrowed}\n")

    def pip(self, *arguments: str | Path) -> str:
        """Run the running Python's pip on this venv."""
        return _run(_PIP[0], *_PIP[1:3], "--python", self.python, *_PIP[3:], *arguments)

    def twistd_plugins(self) -> list[str]:
        """Return the names of the plugins that twistd lists."""
        shown = _run(self.python, "-c", _TWISTD, "--help", cwd=self.folder)
        commands = shown.split("Commands:")[1]
        return [line.split()[0] for line in commands.splitlines() if line.startswith("    ") and line[4] != " "]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Fresh:
    """Return a fresh venv."""
    return Fresh(tmp_path_factory.mktemp("fresh"))


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    """Every module is in the wheel, the migrations and py.typed too; of Twisted's folders only the plugin."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    plugin = PACKAGE / "twisted_plugins" / "ap4r_plugin.py"
    modules = {str(path.relative_to(ROOT)) for path in MODULES if path != plugin}
    assert names == modules | {"ap4r/py.typed", "twisted/plugins/ap4r_plugin.py"}


def test_every_library_that_is_imported_is_declared():
    """pyproject.toml names each library that ap4r imports, so that no installation lacks one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + [one for name in extras.keys() - {"test", "dev"} for one in extras[name]]
    names = {re.split(r"[\[>=]", requirement)[0].replace("-", "_") for requirement in declared}
    # Named after another than what they are imported as.
    names |= {"yaml"} if "pyyaml" in names else set()
    # What Twisted promises to bring along, for its own sake and with its extra `tls`.
    names |= {"cryptography", "hyperlink", "openssl", "zope"} if "twisted" in names else set()
    imported = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {module.split(".")[0] for module in modules if module}
    assert {name.lower() for name in imported - sys.stdlib_module_names - {"ap4r"}} <= names


@pytest.mark.timeout(120)
def test_installing_adds_the_plugin_and_uninstalling_takes_only_it(wheel, fresh, tmp_path):
    """`twistd ap4r` is there after pip install and gone after pip uninstall; Twisted's own file never changes."""
    own = fresh.site / "twisted" / "plugins" / "__init__.py"
    before = own.read_bytes()
    others = fresh.twistd_plugins()
    assert "ap4r" not in others

    fresh.pip("install", "--no-deps", "--no-index", wheel)
    assert sorted(fresh.twistd_plugins()) == sorted([*others, "ap4r"])
    assert own.read_bytes() == before
    assert __version__ in _run(fresh.folder / "bin" / "ap4r", "--version")
    # The migrations came along: a store gets its tables from the wheel alone.
    store = f"sqlite:///{tmp_path}/fresh.db"
    _run(fresh.folder / "bin" / "ap4r", "migrate", "--store", store, cwd=tmp_path)
    _run(fresh.folder / "bin" / "ap4r", "status", "--store", store, cwd=tmp_path)
    assert "--app-url" in _run(fresh.python, "-c", _TWISTD, "ap4r", "--help", cwd=tmp_path)

    fresh.pip("uninstall", "--yes", "ap4r")
    assert sorted(fresh.twistd_plugins()) == sorted(others)
    assert own.read_bytes() == before
