"""The names that users may rely on."""

from __future__ import annotations

import importlib

import ap4r
from tests.meta.tree import ROOT

#: module → names. Removing or renaming one breaks programs of users: it needs a new major version.
PUBLIC = {
    "ap4r": {"File", "__version__", "require_delivery", "session"},
    "ap4r.middleware": {"AP4RMiddleware", "Verdict", "find_routes", "judge_response"},
}


def test_public_names_exist_and_are_the_only_ones():
    """Each promised name is there, and `__all__` promises no other."""
    for module_name, names in PUBLIC.items():
        module = importlib.import_module(module_name)
        assert set(module.__all__) == names
        for name in names:
            assert getattr(module, name)


def test_the_changelog_knows_this_version():
    """CHANGELOG.md has an entry for the version that the package calls itself."""
    assert f"## [{ap4r.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
