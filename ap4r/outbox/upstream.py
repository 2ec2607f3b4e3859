"""Whether the upstream that a handler names exists, as far as its process can know."""

from __future__ import annotations

from ap4r.errors import TargetRefused
from ap4r.settings import Settings
from ap4r.target import APP, Target

#: A dispatcher's intake in the place of a store: it has the settings, and refuses what it does not know.
_INTAKE = ("http://", "https://", "http+unix://")


def check_upstream(target: Target, given: object, settings: Settings) -> None:
    """Refuse a path on an upstream that the settings do not have.

    :raises TargetRefused: naming those that there are.
    """
    if target.upstream in (None, APP) or settings.store.startswith(_INTAKE):
        return
    known = sorted(one.name for one in settings.upstreams)
    if target.upstream not in known:
        raise TargetRefused(
            given,
            f"no upstream is called {target.upstream}; known are {', '.join(known)} ([upstreams.NAME] of ap4r.toml)",
        )
