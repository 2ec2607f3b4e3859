"""Detects that gevent or eventlet patched the standard library only in part, which can block greenlets for ever."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

#: What a put needs: locks, connections, deadlines and the thread that looks doorbells up.
_NEEDED = {"socket": "socket", "thread": "threads", "time": "time"}


def find_partial_patch(modules: Mapping[str, ModuleType | None]) -> str | None:
    """Return what is patched, what is not, and how to correct it; None if everything or nothing is patched.

    With sockets patched but not locks, a greenlet that waits for the store keeps a lock which blocks all others.

    :param modules: sys.modules.
    """
    for name, is_patched in _PATCHERS.items():
        patcher = modules.get(name)
        if patcher is None:
            continue
        patched = {said: is_patched(patcher, module) for module, said in _NEEDED.items()}
        if any(patched.values()) and not all(patched.values()):
            library = name.partition(".")[0]
            call = f"{library}.monkey.patch_all()" if library == "gevent" else f"{library}.monkey_patch()"
            said = [" and ".join(what for what, done in patched.items() if done is wanted) for wanted in (True, False)]
            return (
                f"{library} has patched {said[0]}, but not {said[1]}: requests can block each other for ever; "
                f"call {call} without arguments, before anything else is imported"
            )
    return None


def _patched_by_gevent(patcher: ModuleType, module: str) -> bool:
    return bool(patcher.is_module_patched("threading" if module == "thread" else module))


def _patched_by_eventlet(patcher: ModuleType, module: str) -> bool:
    return bool(patcher.is_monkey_patched(module))


_PATCHERS = {"gevent.monkey": _patched_by_gevent, "eventlet.patcher": _patched_by_eventlet}
