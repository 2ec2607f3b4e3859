"""Servers of other protocols, each made by a library of others, in one process: `python -m tests.support.callees`.

Its arguments are a port for WSGI and one for XML-RPC. What was called, with which values, is written to the file that
CALLEES_LEDGER names.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from tests.support.lines import whole_lines

HOST = "127.0.0.1"
_lock = threading.Lock()


def record(server: str, *values: Any) -> None:
    """Write down a call."""
    line = base64.b64encode(pickle.dumps((server, values))) + b"\n"
    with _lock, open(os.environ["CALLEES_LEDGER"], "ab") as ledger:
        ledger.write(line)


def calls(ledger: Path, server: str) -> list[Any]:
    """Read what a server was called with, in order."""
    told = [pickle.loads(base64.b64decode(line)) for line in whole_lines(ledger)]
    return [values for name, values in told if name == server]


def _refuse(kind: str) -> None:
    raise {"value": ValueError, "key": KeyError}[kind](f"nö, a {kind}")


def serve_xmlrpc(port: int) -> None:
    """The standard library's XML-RPC server."""

    class Quiet(SimpleXMLRPCRequestHandler):
        rpc_paths = ("/RPC2",)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = SimpleXMLRPCServer((HOST, port), Quiet, allow_none=True, use_builtin_types=True)
    server.register_function(lambda *values: record("xmlrpc", *values) or "é", "shop.take")
    server.register_function(lambda *values: _refuse("value"), "shop.refuse")
    threading.Thread(target=server.serve_forever, daemon=True).start()


def django_application() -> Any:
    """django-modern-rpc, which answers XML-RPC and JSON-RPC."""
    import django
    from django.conf import settings

    urls = ModuleType("callee_urls")
    sys.modules["callee_urls"] = urls
    settings.configure(
        ROOT_URLCONF="callee_urls", SECRET_KEY="x", ALLOWED_HOSTS=["*"], DATA_UPLOAD_MAX_MEMORY_SIZE=None
    )
    django.setup()
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path
    from modernrpc import RpcServer
    from modernrpc.exceptions import RPCException

    server = RpcServer()

    @server.register_procedure(name="shop.take")
    def take(*values: Any) -> str:
        record("modernrpc", *values)
        return "é"

    @server.register_procedure(name="shop.refuse")
    def refuse(*values: Any) -> None:
        raise RPCException(code=4711, message="nö")

    def form(request: Any) -> Any:
        files = {name: (file.name, file.content_type, file.read()) for name, file in request.FILES.items()}
        record("django form", dict(request.POST.lists()), files)
        return HttpResponse(status=204)

    urls.urlpatterns = [path("django/rpc", server.view), path("django/form", form)]  # type: ignore[attr-defined]
    return get_wsgi_application()


def flask_application() -> Any:
    """Flask, which reads what the type of the body says."""
    import yaml
    from defusedxml.ElementTree import fromstring
    from flask import Flask, request

    app = Flask("callee")
    app.config["MAX_FORM_MEMORY_SIZE"] = None

    @app.post("/flask/take")
    def take() -> tuple[str, int]:
        kind = request.mimetype
        if kind == "application/json":
            got = request.get_json()
        elif kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
            files = {name: (file.filename, file.mimetype, file.read()) for name, file in request.files.items()}
            got = (request.form.to_dict(flat=False), files)
        elif kind == "application/yaml":
            got = yaml.safe_load(request.get_data())
        elif kind == "application/xml":
            got = [(one.tag, dict(one.attrib), one.text or "") for one in fromstring(request.get_data()).iter()]
        else:
            got = request.get_data(as_text=kind == "text/plain")
        record("flask", kind, got)
        return "", 204

    return app


def jsonrpcserver_answer(body: str) -> str:
    """jsonrpcserver."""
    from jsonrpcserver import Error, Success, dispatch

    def take(*values: Any, **named: Any) -> Any:
        record("jsonrpcserver", *values, named)
        return Success("é")

    def refuse(*values: Any) -> Any:
        return Error(4711, "nö", {"why": [1]})

    return str(dispatch(body, methods={"shop.take": take, "shop.refuse": refuse}))


def tinyrpc_answer(body: bytes) -> bytes:
    """tinyrpc."""
    from tinyrpc.dispatch import RPCDispatcher
    from tinyrpc.protocols.jsonrpc import JSONRPCProtocol

    dispatcher, protocol = RPCDispatcher(), JSONRPCProtocol()
    dispatcher.add_method(lambda *values, **named: record("tinyrpc", *values, named) or "é", "shop.take")
    dispatcher.add_method(lambda *values: _refuse("key"), "shop.refuse")
    answer = dispatcher.dispatch(protocol.parse_request(body))
    return bytes(answer.serialize())


def spyne_application(version: str) -> Any:
    """Spyne, with a WSDL."""
    from spyne import Application, Array, ByteArray, ComplexModel, Date, DateTime, Decimal, Fault, Integer, Unicode, rpc
    from spyne import Service as SpyneService
    from spyne.protocol.soap import Soap11, Soap12
    from spyne.server.wsgi import WsgiApplication

    class Line(ComplexModel):
        __namespace__ = "urn:shop"
        sku = Unicode
        count = Integer

    class Order(ComplexModel):
        __namespace__ = "urn:shop"
        number = Unicode
        placed = DateTime
        due = Date
        price = Decimal
        data = ByteArray
        lines = Array(Line)

    class Shop(SpyneService):
        @rpc(Order, Unicode, _returns=Unicode)
        def ReIndex(ctx: Any, order: Any, text: Any) -> Any:
            told = None
            if order is not None:
                told = {
                    "number": order.number, "placed": order.placed, "due": order.due, "price": order.price,
                    "data": None if order.data is None else b"".join(order.data),
                    "lines": [(line.sku, line.count) for line in order.lines or []],
                }  # fmt: skip
            record(f"spyne{version}", told, text)
            return "é"

        @rpc(Unicode)
        def Refuse(ctx: Any, kind: Any) -> None:
            raise Fault(kind, "nö, not that")

    make = Soap11 if version == "1.1" else Soap12
    shop = Application([Shop], "urn:shop", in_protocol=make(), out_protocol=make())
    return WsgiApplication(shop, max_content_length=8 * 1024 * 1024)


def application(port: int) -> Any:
    """All that speaks WSGI, told apart by path."""
    behind = {
        "/django": django_application(),
        "/flask": flask_application(),
        "/soap11": spyne_application("1.1"),
        "/soap12": spyne_application("1.2"),
    }

    def answer(environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        for prefix, inner in behind.items():
            if path.startswith(prefix):
                return inner(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if path == "/moved":
            # A WSDL that another one refers to, and the other one.
            text = _moved(port).encode()
        elif path == "/tinyrpc":
            text = tinyrpc_answer(body)
        else:
            text = jsonrpcserver_answer(body.decode()).encode()
            json.loads(text)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
        return [text]

    return answer


def _moved(port: int) -> str:
    return (
        '<w:definitions xmlns:w="http://schemas.xmlsoap.org/wsdl/" xmlns:s="http://schemas.xmlsoap.org/wsdl/soap/" '
        'xmlns:t="urn:shop" targetNamespace="urn:moved">'
        f'<w:import namespace="urn:shop" location="http://{HOST}:{port}/soap11?wsdl"/>'
        f'<w:service name="Moved"><w:port name="Moved" binding="t:Application"><s:address location="http://{HOST}:1/"/>'
        "</w:port></w:service></w:definitions>"
    )


def main(port: int, xmlrpc_port: int) -> None:
    """Serve until the process is ended."""
    from werkzeug.serving import make_server

    serve_xmlrpc(xmlrpc_port)
    make_server(HOST, port, application(port), threaded=True).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
