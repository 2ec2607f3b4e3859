"""An effects table in every database, reached through every kind of connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.backends import SHARED, sqlite_template
from tests.integration.inbox.effects_table import KINDS, EffectsTable

_EACH = [(database, kind) for database, kinds in KINDS.items() for kind in kinds]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the template of the SQLite files."""
    return sqlite_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(params=_EACH, ids=lambda one: f"{one[0]} {one[1]}")
def effects_table(request: pytest.FixtureRequest, tmp_path: Path, template: Path) -> Iterator[EffectsTable]:
    """Yield an effects table in each database, through each kind of connection."""
    database, kind = request.param
    made = EffectsTable(SHARED[database](tmp_path, template).url, kind)
    yield made
    made.close()


@pytest.fixture(params=sorted(KINDS))
def plain(request: pytest.FixtureRequest, tmp_path: Path, template: Path) -> Iterator[EffectsTable]:
    """Yield an effects table in each database, through the driver's own connection."""
    made = EffectsTable(SHARED[request.param](tmp_path, template).url, KINDS[request.param][0])
    yield made
    made.close()
