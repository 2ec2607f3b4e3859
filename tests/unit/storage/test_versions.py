"""Which versions of the tables this code runs on, moves or refuses."""

from __future__ import annotations

import pytest

from ap4r.errors import SchemaMismatch
from ap4r.storage.schema.tables import VERSION
from ap4r.storage.schema.version import can_migrate, check_version, migrate_command, runs_on


@pytest.mark.parametrize(
    ("found", "runs"),
    [
        ("1.3", True),
        ("1.4", True),
        ("1.30", True),
        ("1.2", False),
        ("0.3", False),
        ("2.3", False),
        ("2.0", False),
        ("", False),
        ("1", False),
        ("1.", False),
        (".3", False),
        ("1.3.1", False),
        ("1.-3", False),
        ("v1.3", False),
    ],
)
def test_what_runs_on_what(found, runs):
    """Code runs on tables of its own major version that are not older than itself."""
    assert runs_on(found, "1.3") is runs


@pytest.mark.parametrize(
    ("found", "may"),
    [(None, True), ("0.1", True), ("0.999", True), ("1.0", True), (VERSION, False), ("1.999", False), ("x", False)],
)
def test_what_may_be_moved(found, may):
    """Tables that are older, or not there, may be brought to this version; no others."""
    assert can_migrate(found) is may


@pytest.mark.parametrize("found", [VERSION, "1.999"])
def test_what_runs_passes(found):
    """Tables that this code runs on are no error."""
    check_version(found, "sqlite:///x.db")


@pytest.mark.parametrize(
    ("found", "command"),
    [
        (None, "ap4r migrate --store sqlite:///x.db"),
        ("0.9", "ap4r migrate --store sqlite:///x.db"),
        ("2.0", "pip install --upgrade ap4r"),
        ("nonsense", "pip install --upgrade ap4r"),
    ],
)
def test_the_refusal_names_the_command(found, command):
    """The error for other tables says what was found, what is needed, and what to run."""
    with pytest.raises(SchemaMismatch) as caught:
        check_version(found, "sqlite:///x.db")
    assert caught.value.command == command
    for fact in ("sqlite:///x.db", VERSION, command, found or "it has no tables of ap4r"):
        assert fact in str(caught.value)


def test_the_command_can_be_typed_as_it_is():
    """What a shell would take apart is quoted, the prefix is part of it, and *** is explained."""
    command = migrate_command("mysql+pymysql://u:***@db/x?a=1&b=2", "shop_")
    assert command == (
        "AP4R_TABLE_PREFIX=shop_ ap4r migrate --store 'mysql+pymysql://u:***@db/x?a=1&b=2' (with the password for ***)"
    )
    assert migrate_command("sqlite:///x.db", "ap4r_") == "ap4r migrate --store sqlite:///x.db"
