"""The handle outside a request: for scripts, shells and cron jobs."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ap4r.describe.routes import Routes
from ap4r.outbox.handle import Handle
from ap4r.outbox.pending import Verdict
from ap4r.outbox.sink import Sink, find_writer
from ap4r.settings.environment import CONFIG_NAME, VARIABLE_PREFIX
from ap4r.settings.load import load_settings
from ap4r.settings.settings import Settings
from ap4r.settings.settings_file import find_settings_file, script_folder
from ap4r.settings.store_url import SQLITE
from ap4r.storage.app_connection.argument import connection_finder

_log = logging.getLogger("ap4r.outbox")


@contextmanager
def session(
    store: str | Sink | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    routes: Routes | None = None,
    connection: Callable[[], object] | str | None = None,
    **settings: Any,
) -> Iterator[Handle]:
    """Yield a handle whose messages are stored when the block ends without an exception, and dropped after one.

    After an exception only messages with on="failure" or "always" are stored; if that fails too it is logged, and
    the block's own exception is raised.

    If no settings were found and a new store was created, a line on standard error names it.

    :param store: a URL, or an object with `put`; None means the settings' store.
    :param routes: where targets by name are looked up, such as `ap4r.middleware.find_routes(app)`.
    :param connection: returns the application's connection for `transaction()` without an argument; as a name, a
        Django alias.
    :param settings: single settings, as in ap4r.toml.
    :raises ConfigError: a setting is unknown or out of range.
    :raises StoreError: at the block's end: its messages are not stored, or with `outcome_unknown` may be.
    """
    url = store if isinstance(store, str) else None
    sink = None if store is None or isinstance(store, str) else store
    loaded = load_settings(config, store=url, **settings)
    place = loaded.store if sink is None else sink
    new_store = _new_default_store(loaded, config) if store is None and "store" not in settings else None
    handle = Handle(find_writer(sink, loaded), loaded, place, routes=routes, connection=connection_finder(connection))
    try:
        yield handle
    except BaseException:
        try:
            handle.conclude(Verdict.ABORT)
        except Exception:  # noqa: BLE001 - the block's own exception is the one to report
            _log.exception("messages that follow a failure could not be stored")
        raise
    handle.conclude(Verdict.COMMIT)
    if new_store is not None and os.path.exists(new_store):
        sys.stderr.write(
            f"ap4r: no {CONFIG_NAME} was found from {os.getcwd()} upwards, so the messages were stored in a new store, "
            f"{new_store}. Only a dispatcher of this store delivers them: twistd -n ap4r --store "
            f"{shlex.quote(SQLITE + new_store)}\n"
        )


def _new_default_store(settings: Settings, config: str | os.PathLike[str] | None) -> str | None:
    """Return the path of the default store, if no settings name a store and it does not exist yet."""
    path = settings.store.removeprefix(SQLITE)
    if path == settings.store or VARIABLE_PREFIX + "STORE" in os.environ or os.path.exists(path):
        return None
    return path if find_settings_file(config, os.environ, script_folder()) is None else None
