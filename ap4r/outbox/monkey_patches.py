"""Whether gevent or eventlet has patched the standard library in part, so that greenlets could wait for ever."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

#: What a put waits for: locks, connections, deadlines and the thread that looks doorbells up.
_NEEDED = {"socket": "socket", "thread": "threads", "time": "time"}


def find_partial_patch(modules: Mapping[str, ModuleType | None]) -> str | None:
    """Return what is patched and what is not, and how to mend it; None where all or nothing is patched.

    With sockets patched and locks not, a greenlet that waits for the store keeps a lock which stops all others.

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
                f"{library} has patched {said[0]}, but not {said[1]}: requests can wait for each other for ever; "
                f"call {call} without arguments, before anything else is imported"
            )
    return None


def _by_gevent(patcher: ModuleType, module: str) -> bool:
    return bool(patcher.is_module_patched("threading" if module == "thread" else module))


def _by_eventlet(patcher: ModuleType, module: str) -> bool:
    return bool(patcher.is_monkey_patched(module))


_PATCHERS = {"gevent.monkey": _by_gevent, "eventlet.patcher": _by_eventlet}
