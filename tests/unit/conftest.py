"""How hypothesis runs here: no deadline, which a busy machine would miss, and no folder of examples."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, database=None, max_examples=60)
settings.load_profile("unit")
