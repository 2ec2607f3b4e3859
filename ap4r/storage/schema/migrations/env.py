"""Run revisions over the connection that `ap4r.storage.schema.version` has opened, or print them as SQL."""

from __future__ import annotations

from alembic import context

_attributes = context.config.attributes
if context.is_offline_mode():
    context.configure(
        dialect_name=_attributes["dialect"], version_table=_attributes["version_table"], literal_binds=True
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(connection=_attributes["connection"], version_table=_attributes["version_table"])
    context.run_migrations()
