"""Run revisions over the connection that `ap4r.storage.versions` has opened."""

from __future__ import annotations

from alembic import context

_attributes = context.config.attributes
context.configure(connection=_attributes["connection"], version_table=_attributes["version_table"])
context.run_migrations()
