"""The history of the tables, for Alembic. Revisions are named by the version they lead to; old ones never change."""
