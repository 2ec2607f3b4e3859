"""`twistd ap4r`: its options, and the service that they describe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import Field, fields
from typing import Any

from twisted.application.service import IService
from twisted.python import usage
from twisted.python.logfile import LogFile

from ap4r.dispatcher.app_server.server import AppServer
from ap4r.dispatcher.clock.reactor_time import use_monotonic_time
from ap4r.dispatcher.dispatcher import Dispatcher
from ap4r.dispatcher.http_client.name_lookup import Names
from ap4r.dispatcher.http_server.connections import Connections, most_connections, open_files_limit
from ap4r.dispatcher.http_server.router import Router
from ap4r.dispatcher.log.output import LineObserver, TextOutput, forward_logging, standard_output, write_line
from ap4r.dispatcher.log.subscriber import Log
from ap4r.dispatcher.process import Process, give_up
from ap4r.errors import Ap4rError, ConfigError, StoreUnavailable
from ap4r.events.bus import Events
from ap4r.message.target import APP
from ap4r.settings.environment import CONFIG_VARIABLE
from ap4r.settings.fields import default_text, info_of
from ap4r.settings.load import load_settings
from ap4r.settings.settings import Settings
from ap4r.settings.settings_file import find_settings_file, script_folder
from ap4r.storage.open import open_store, open_stores
from ap4r.storage.store import Store

#: Settings that are options too, by the name of the option: command line, then AP4R_* variables, then ap4r.toml.
_SETTINGS = {info_of(spec).flag: spec for spec in fields(Settings) if info_of(spec).flag}
_SEVERAL = ("store", "app-url")  #: options that can be given several times
_TWISTD_PIDFILE = "twistd.pid"


def _help(spec: Field[Any], more: str = "") -> str:
    info = info_of(spec)
    choices = f" ({', '.join(info.choices)})" if info.choices else ""
    return f"{info.doc[0].upper()}{info.doc[1:]}{choices}. {more}[default: {default_text(spec)}]"


def _collected(option: str, more: str) -> Callable[[Options, str], None]:
    def collect(options: Options, value: str) -> None:
        options[option].append(value)

    collect.__doc__ = _help(_SETTINGS[option], f"{more} ")
    return collect


class Options(usage.Options):
    """The options of `twistd ap4r`."""

    synopsis = "[options]"
    longdesc = (
        "Delivers the messages of one store or several as HTTP requests. Without options: sqlite:///ap4r.db, the "
        "application at http://127.0.0.1:8000. Every option but --app, --app-listen and --app-threads is also a "
        "setting in ap4r.toml and an AP4R_* variable; the command line wins. SIGTERM drains and exits with 0, SIGHUP "
        "reads the settings again."
    )
    optParameters = [
        ["config", None, None, "The settings' file. [default: ap4r.toml of this folder or the nearest above it]"],
        ["app", None, None, "Serve this WSGI application too, in this process, as MODULE:NAME."],
        ["app-listen", None, "tcp:8000:interface=127.0.0.1", "The endpoint at which it is served."],
        ["app-threads", None, "16", "Threads for it; deliveries use at most three quarters of them at once."],
        *([name, None, None, _help(spec)] for name, spec in _SETTINGS.items() if name not in _SEVERAL),
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["store"] = []
        self["app-url"] = []
        self._config_file: str | None = None

    opt_store = _collected(
        "store", "Give it several times to drain several; an application of --app writes to the first."
    )
    opt_app_url = _collected("app-url", "Give it several times for several; they are used in turn.")

    def postOptions(self) -> None:
        """Check everything that can be checked without opening anything.

        :raises UsageError: an option has an invalid value.
        """
        try:
            self["app-threads"] = int(self["app-threads"])
        except ValueError:
            raise usage.UsageError(f"--app-threads: {self['app-threads']} is not a whole number") from None
        if self["app-threads"] < 1:
            raise usage.UsageError("--app-threads: there must be at least one")
        if self["app"] is not None and not self["app"].partition(":")[0]:
            raise usage.UsageError("--app: name the application as MODULE:NAME")
        for name, spec in _SETTINGS.items():
            if isinstance(spec.default, (int, float)) and self[name] is not None:
                self[name] = _number(name, type(spec.default), self[name])
        # twistd may be installed anywhere; the application's modules are in the working folder, as with `python -m`.
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        self._no_pidfile_unless_asked_for()

    def read_settings(self) -> Settings:
        """Read the settings; these options take precedence.

        :raises ConfigError: a setting is unknown or out of range, or the file that was there before is gone.
        """
        if self._config_file is None and not self["config"] and not os.environ.get(CONFIG_VARIABLE):
            found = find_settings_file(None, {}, script_folder())
            self._config_file = None if found is None else str(found)
        if self._config_file is not None and not os.path.isfile(self._config_file):
            # The defaults would send messages to a server that was not configured.
            raise ConfigError("config", f"{self._config_file} is gone; put it back, or restart to use the defaults")
        given: dict[str, Any] = {spec.name: self[option] for option, spec in _SETTINGS.items()}
        given["app_urls"] = tuple(self["app-url"]) or None
        stores = tuple(self["store"])
        given |= {"store": stores[0] if stores else None, "stores": stores or None}
        return load_settings(self["config"] or self._config_file, **given)

    def _no_pidfile_unless_asked_for(self) -> None:
        parent = getattr(self, "parent", None)
        if parent is None or parent.get("pidfile") != _TWISTD_PIDFILE:
            return
        if not any(argument.startswith("--pidfile") for argument in sys.argv):
            parent["pidfile"] = ""


def makeService(options: Options) -> IService:
    """Build the service that twistd runs.

    The stores are opened once, so that a wrong URL, a corrupt file or another version is reported at once; they are
    closed again, because twistd may fork after this.
    """
    from twisted.internet import reactor

    use_monotonic_time(reactor)
    reactor.installNameResolver(Names(reactor))  # type: ignore[attr-defined]
    forward_logging()
    try:
        settings = options.read_settings()
        stores = open_stores(settings)
        # All at the same time, because an unreachable one may take its whole deadline.
        with ThreadPoolExecutor(len(stores)) as threads:
            list(threads.map(_look_at, stores))
        _export(options, settings)
        events = Events()
        app_server, call_own_app, caps = None, False, {}
        # Both ports share this limit: if one is flooded, descriptors are left for deliveries.
        connections = Connections(most_connections(open_files_limit(), settings.concurrency))
        if options["app"] is not None:
            app_threads = options["app-threads"]
            app_server = AppServer(
                reactor, options["app"], options["app-listen"], app_threads, events, settings.grace_seconds, connections
            )
            call_own_app = not options["app-url"]
            if call_own_app:
                # A handler may call its own application, and people want answers while deliveries run.
                caps[APP] = max(1, app_threads * 3 // 4)
        dispatcher = Dispatcher(reactor, stores, settings, events, caps=caps)
        front = None
        if settings.intake and settings.listen != "none":
            store = open_store(settings.store, settings)
            front = Router(reactor, store, settings, events, time=dispatcher.running_time)
    except Ap4rError as error:
        give_up(error)
    observer = _observer(getattr(options, "parent", None) or {}, settings)
    log = Log(reactor, write_line, observer.wants_debug if observer else lambda: settings.log_level == "debug")
    events.subscribe(log, log.wants)
    return Process(
        reactor, settings, events, dispatcher, front=front, app_server=app_server, call_own_app=call_own_app,
        connections=connections, read_settings=options.read_settings, observer=observer, log=log,
    )  # fmt: skip


def _look_at(store: Store) -> None:
    try:
        store.prepare()
    except StoreUnavailable:
        # A passing failure; the dispatcher waits for the store, and logs it.
        pass
    finally:
        store.close()


def _export(options: Options, settings: Settings) -> None:
    # The application's middleware, imported later in this process, must use the same store.
    if options["app"] is not None:
        os.environ["AP4R_STORE"] = settings.store
        if options["config"]:
            os.environ["AP4R_CONFIG"] = os.path.abspath(options["config"])
    if options["config"]:
        options["config"] = os.path.abspath(options["config"])


def _observer(twistd: Any, settings: Settings) -> LineObserver | None:
    """Return the observer that prints our lines instead of twistd's own; None if an option of twistd sets another."""
    if twistd.get("logger") or twistd.get("syslog"):
        return None
    path = twistd.get("logfile")
    output: TextOutput
    if twistd.get("nodaemon") or twistd.get("debug"):
        output = standard_output() if path in (None, "", "-") else LogFile.fromFullPath(path)
    else:
        output = LogFile.fromFullPath(path or "twistd.log")
    return LineObserver(output, settings.log_level, settings.log_format)


def _number(name: str, kind: type[int] | type[float], text: str) -> float | int:
    try:
        return kind(text)
    except ValueError:
        raise usage.UsageError(f"--{name}: {text} is not a {'whole ' if kind is int else ''}number") from None
