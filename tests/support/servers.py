"""WSGI servers as real processes, each on a port of its own, with an application that a test names.

`python -m tests.support.servers wsgiref|waitress|gevent|app PORT MODULE:FACTORY` is the servers without a command.
"""

from __future__ import annotations

import importlib
import socketserver
import sys
from collections.abc import Callable
from typing import Any

from tests.support.processes import HOST, Process, Processes

#: name → what gunicorn is given, or None for what this module serves itself.
SERVERS: dict[str, tuple[str, ...] | None] = {
    "wsgiref": None,
    "waitress": None,
    "gevent": None,
    "app": None,
    "gunicorn-sync": ("--worker-class=sync", "--workers=2"),
    "gunicorn-gthread": ("--worker-class=gthread", "--threads=4"),
    "gunicorn-preload": ("--worker-class=gthread", "--threads=2", "--workers=2", "--preload"),
    "gunicorn-recycling": ("--worker-class=sync", "--workers=2", "--max-requests=20"),
    "gunicorn-gevent": ("--worker-class=gevent", "--workers=1"),
}


def is_installed(server: str) -> bool:
    """Return whether a server can be started here."""
    module = {"gunicorn-gevent": "gevent", "wsgiref": "wsgiref", "app": "twisted.web"}
    try:
        importlib.import_module(module.get(server, server.partition("-")[0]))
    except ImportError:
        return False
    return True


def start_server(processes: Processes, server: str, port: int, factory: str, **environ: str) -> Process:
    """Start a server and wait until it listens.

    :param factory: `module:function`, called in the server's process for the application.
    """
    arguments = SERVERS[server]
    if arguments is not None:
        return processes.gunicorn(f"{factory}()", port, *arguments, "--log-level=debug", name=server, **environ)
    command = (sys.executable, "-m", "tests.support.servers", server, str(port), factory)
    process = processes.start(server, *command, **environ)
    processes.wait_until_listening(process, port)
    return process


def serve_wsgiref(application: Any, port: int) -> None:
    """Serve with the standard library, a thread a connection."""
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    class Threads(socketserver.ThreadingMixIn, WSGIServer):
        daemon_threads = True

    server = Threads((HOST, port), WSGIRequestHandler)
    server.set_app(application)
    server.serve_forever()


def serve_waitress(application: Any, port: int) -> None:
    """Serve with waitress."""
    import waitress

    waitress.serve(application, host=HOST, port=port)


def serve_gevent(application: Any, port: int) -> None:
    """Serve with gevent.pywsgi, a greenlet for each connection."""
    from gevent.pywsgi import WSGIServer

    WSGIServer((HOST, port), application).serve_forever()


def serve_app(application: Any, port: int) -> None:
    """Serve as `twistd ap4r --app` does."""
    from twisted.internet import reactor
    from twisted.python import log

    from ap4r.dispatcher.app_server.request import AppSite
    from ap4r.dispatcher.http_server.connections import Connections

    log.startLogging(sys.stdout)
    loop: Any = reactor
    site = AppSite(loop, loop.getThreadPool().callInThread, loop.callFromThread, Connections(1_000))
    site.app = application
    loop.listenTCP(port, site, interface=HOST)
    loop.run()


_SERVE: dict[str, Callable[[Any, int], None]] = {
    "wsgiref": serve_wsgiref,
    "waitress": serve_waitress,
    "gevent": serve_gevent,
    "app": serve_app,
}


def main(server: str, port: str, factory: str) -> None:
    """Serve until the process is ended."""
    if server == "gevent":  # before the application's modules are imported
        importlib.import_module("gevent.monkey").patch_all()
    module, _, function = factory.partition(":")
    _SERVE[server](getattr(importlib.import_module(module), function)(), int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
