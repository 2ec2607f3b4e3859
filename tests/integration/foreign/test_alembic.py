"""`alembic revision --autogenerate` of an application beside ap4r's tables: it leaves them alone."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Index, Integer, MetaData, Table, create_engine
from sqlalchemy.pool import NullPool

from ap4r.contrib import alembic as bridge

models = MetaData()
Table("orders", models, Column("number", Integer, primary_key=True))
Table("added", models, Column("number", Integer, primary_key=True), Column("of", Integer), Index("added_of", "of"))


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def connection(request, make_shop):
    """A connection to a shop's database."""
    engine = create_engine(make_shop(request.param).url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def found(connection, **options):
    """Return what Alembic would do, and to which table or index."""
    context = MigrationContext.configure(connection, opts=options)
    return sorted((step[0], step[1].name) for step in compare_metadata(context, models) if isinstance(step, tuple))


OWN = [("add_index", "added_of"), ("add_table", "added")]


@pytest.mark.parametrize(
    "options",
    [{"include_object": bridge.include_object}, {"include_name": bridge.include_name}],
    ids=lambda options: next(iter(options)),
)
def test_our_tables_are_left_alone(connection, options):
    """Only what is the application's own is compared; without the bridge ours would be dropped."""
    assert found(connection, **options) == OWN
    dropped = {name for step, name in found(connection) if step == "remove_table"}
    assert {"ap4r_messages", "ap4r_version"} <= dropped


def test_a_rule_of_the_applications_own(connection):
    """It is asked of everything that is not ours, with another prefix of everything."""

    def not_added(item, name, type_, reflected, compare_to):
        return name != "added"

    assert found(connection, include_object=bridge.objects_but("ap4r_", not_added)) == []
    other = found(connection, include_object=bridge.objects_but("jobs_", not_added))
    assert ("remove_table", "ap4r_messages") in other


def test_the_prefix_of_the_settings(monkeypatch):
    """A prefix that is set for ap4r is the one that is left out."""
    monkeypatch.setenv("AP4R_TABLE_PREFIX", "jobs_")
    bridge._usual_prefix.cache_clear()
    try:
        assert bridge.include_object(None, "jobs_messages", "table", True, None) is False
        assert bridge.include_object(None, "ap4r_messages", "table", True, None) is True
        assert bridge.include_name("jobs_dead_lane", "index", {"table_name": "jobs_dead"}) is False
    finally:
        bridge._usual_prefix.cache_clear()
