"""How each server is started, with `tests.servers.applications:application`.

`python -m tests.servers.launch NAME PORT` serves with those that have no command of their own.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import HOST, ROOT, Process, Processes

APPLICATION = "tests.servers.applications:application"
SERVERS_PYTHON = ROOT / ".venv-servers" / "bin" / "python"
_MOD_WSGI = Path("/usr/lib/apache2/modules/mod_wsgi.so")


@dataclass(frozen=True)
class Server:
    """A server: the module that it needs, and its command; without one, this module serves.

    `short`: its form is part of `make test-all`, for what it needs is in the extra `test`.
    """

    name: str
    module: str
    command: Callable[[int, Path], list[str]] | None = None
    short: bool = False


def _module(name: str, *arguments: str) -> Callable[[int, Path], list[str]]:
    def command(port: int, folder: Path) -> list[str]:
        return [python(), "-m", name, *[argument.replace("PORT", str(port)) for argument in arguments]]

    return command


def _gunicorn(kind: str, *arguments: str) -> Callable[[int, Path], list[str]]:
    more = ("--no-control-socket", "--graceful-timeout=2", f"--worker-class={kind}", *arguments, APPLICATION)
    return _module("gunicorn", f"--bind={HOST}:PORT", *more)


def _uwsgi(port: int, folder: Path) -> list[str]:
    more = ["--single-interpreter", "--master", "--die-on-term", "--need-app", "--threads=4"]
    more.append(f"--http-socket={HOST}:{port}")
    binary = SERVERS_PYTHON.with_name("uwsgi")
    return [str(binary), "--module", APPLICATION, "--pythonpath", str(ROOT), "--virtualenv", str(ROOT / ".venv"), *more]


def _apache(port: int, folder: Path) -> list[str]:
    sites = glob.glob(str(ROOT / ".venv/lib/python3*/site-packages"))
    (folder / "served.wsgi").write_text(
        f"import site, sys\nfor folder in {sites!r}: site.addsitedir(folder)\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.servers.applications import application\n"
    )
    loads = [path.read_text() for path in map(Path, ("/etc/apache2/mods-available/mpm_event.load",))]
    lines = [
        *loads,
        *[
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
            for name in ("authz_core", "wsgi")
            if Path(f"/usr/lib/apache2/modules/mod_{name}.so").exists()
        ],
        f"ServerRoot {folder}",
        "ServerName testserver",
        f"PidFile {folder}/apache.pid",
        f"DefaultRuntimeDir {folder}",
        "ErrorLog /dev/stderr",
        f"Listen {HOST}:{port}",
        *(["User www-data", "Group www-data"] if os.geteuid() == 0 else []),
        "KeepAliveTimeout 5",
        "AllowEncodedSlashes NoDecode",
        "WSGIChunkedRequest On",
        "WSGIPassAuthorization On",
        "WSGIApplicationGroup %{GLOBAL}",
        f"WSGIScriptAlias / {folder}/served.wsgi",
        "<Location />\nRequire all granted\n</Location>",
    ]
    (folder / "apache.conf").write_text("\n".join(lines) + "\n")
    for path in [*folder.parents[:3], folder]:
        # Its workers run as another user, and write the ledger.
        path.chmod(path.stat().st_mode | 0o055)
    folder.chmod(0o777)
    return ["/usr/sbin/apache2", "-DFOREGROUND", "-f", str(folder / "apache.conf")]


SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        Server("app", "twisted.web", short=True),
        Server("gunicorn-sync", "gunicorn", _gunicorn("sync", "--workers=2"), short=True),
        Server("gunicorn-gthread", "gunicorn", _gunicorn("gthread", "--threads=4"), short=True),
        Server("gunicorn-gevent", "gevent", _gunicorn("gevent"), short=True),
        Server("gunicorn-eventlet", "gunicorn.workers.geventlet", _gunicorn("eventlet")),
        Server("gunicorn-tornado", "gunicorn.workers.gtornado", _gunicorn("tornado")),
        Server("gevent.pywsgi", "gevent.pywsgi", short=True),
        Server("waitress", "waitress", _module("waitress", f"--listen={HOST}:PORT", APPLICATION), short=True),
        Server("werkzeug", "werkzeug", short=True),
        Server("wsgiref", "wsgiref", short=True),
        Server("twisted", "twisted.web", short=True),
        Server("eventlet", "eventlet"),
        Server("uwsgi", "pyuwsgi", _uwsgi),
        Server("mod_wsgi", "", _apache),
        Server("cheroot", "cheroot"),
        Server(
            "granian",
            "granian",
            _module(
                "granian", "--interface=wsgi", f"--host={HOST}", "--port=PORT", "--blocking-threads=4", APPLICATION
            ),
        ),
        Server("hypercorn", "hypercorn", _module("hypercorn", f"--bind={HOST}:PORT", f"wsgi:{APPLICATION}")),
        Server(
            "uvicorn-wsgi",
            "uvicorn",
            _module("uvicorn", f"--host={HOST}", "--port=PORT", "--interface=wsgi", APPLICATION),
        ),
        Server("uvicorn-a2wsgi", "a2wsgi"),
        Server("uvicorn-asgiref", "uvicorn"),
        Server("tornado", "tornado.wsgi"),
    )
}


def python() -> str:
    """Return the Python that has the servers: this one, or that of `.venv-servers`, where it has been made."""
    return str(SERVERS_PYTHON) if SERVERS_PYTHON.exists() else sys.executable


def why_missing(server: Server) -> str:
    """Return why a server cannot be started here; empty when it can."""
    if server.name == "mod_wsgi":
        return _why_no_mod_wsgi()
    if server.short:
        return "" if _has(server.module) else f"{server.module} is not installed"
    asked = subprocess.run(
        [python(), "-W", "ignore", "-c", f"import {server.module}"], capture_output=True, check=False
    )
    return "" if asked.returncode == 0 else f"{server.module} cannot be imported by {python()}"


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _why_no_mod_wsgi() -> str:
    if not _MOD_WSGI.exists() or not Path("/usr/sbin/apache2").exists():
        return "apache2 and libapache2-mod-wsgi-py3 are not installed"
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    built = os.path.basename(os.path.realpath(_MOD_WSGI))
    return "" if own in built else f"{built} is of another Python than {own}"


def start(processes: Processes, server: Server, port: int) -> Process:
    """Start a server and wait until it listens."""
    default = [python(), "-m", "tests.servers.launch", server.name, str(port)]
    command = default if server.command is None else server.command(port, processes.folder)
    process = processes.start(server.name, *command, TESTS_SINK=str(processes.folder / "puts.jsonl"))
    processes.wait_until_listening(process, port, timeout_seconds=60)
    return process


def _application() -> Any:
    from tests.servers.applications import application

    return application


def _serve_app(port: int) -> None:
    from tests.support.servers import serve_app

    serve_app(_application(), port)


def _serve_twisted(port: int) -> None:
    from twisted.internet import reactor
    from twisted.web.server import Site
    from twisted.web.wsgi import WSGIResource

    loop: Any = reactor
    loop.listenTCP(port, Site(WSGIResource(loop, loop.getThreadPool(), _application())), interface=HOST)
    loop.run()


def _serve_wsgiref(port: int) -> None:
    from tests.support.servers import serve_wsgiref

    serve_wsgiref(_application(), port)


def _serve_werkzeug(port: int) -> None:
    from werkzeug.serving import run_simple

    run_simple(HOST, port, _application(), threaded=True)


def _serve_pywsgi(port: int) -> None:
    from gevent import monkey

    monkey.patch_all()
    from gevent.pywsgi import WSGIServer

    WSGIServer((HOST, port), _application()).serve_forever()


def _serve_eventlet(port: int) -> None:
    import eventlet
    import eventlet.wsgi

    eventlet.monkey_patch()
    eventlet.wsgi.server(eventlet.listen((HOST, port)), _application())


def _serve_cheroot(port: int) -> None:
    from cheroot.wsgi import Server as Cheroot

    Cheroot((HOST, port), _application(), numthreads=4).start()


def _serve_tornado(port: int) -> None:
    import asyncio

    from tornado.httpserver import HTTPServer
    from tornado.wsgi import WSGIContainer

    async def serve() -> None:
        HTTPServer(WSGIContainer(_application())).listen(port, HOST)
        await asyncio.Event().wait()

    asyncio.run(serve())


def _serve_asgi(wrap: Callable[[Any], Any], port: int) -> None:
    import uvicorn

    uvicorn.run(wrap(_application()), host=HOST, port=port, lifespan="off")


def _serve_a2wsgi(port: int) -> None:
    from a2wsgi import WSGIMiddleware

    _serve_asgi(WSGIMiddleware, port)


def _serve_asgiref(port: int) -> None:
    from asgiref.wsgi import WsgiToAsgi

    _serve_asgi(WsgiToAsgi, port)


_SERVE: dict[str, Callable[[int], None]] = {
    "app": _serve_app,
    "twisted": _serve_twisted,
    "wsgiref": _serve_wsgiref,
    "werkzeug": _serve_werkzeug,
    "gevent.pywsgi": _serve_pywsgi,
    "eventlet": _serve_eventlet,
    "cheroot": _serve_cheroot,
    "tornado": _serve_tornado,
    "uvicorn-a2wsgi": _serve_a2wsgi,
    "uvicorn-asgiref": _serve_asgiref,
}

if __name__ == "__main__":
    _SERVE[sys.argv[1]](int(sys.argv[2]))
