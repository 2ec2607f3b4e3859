"""The OpenAPI document of the intake, as /openapi.json serves it and docs/openapi.json has it. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from ap4r.describe.options import BY_NAME, OPTIONS
from ap4r.version import __version__

_TEXT = {"type": "string"}
_JSON_TYPE = "application/json"


def _option(name: str) -> dict[str, Any]:
    option = BY_NAME[name]
    default = {} if option.default is None else {"default": option.default}
    return {**option.kind.schema, **default, "description": option.json_doc or _plain(option.doc)}


def _plain(markdown: str) -> str:
    """Return a row's text without links and code marks, as a sentence."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")
    return f"{text[0].upper()}{text[1:]}."


_MESSAGE: dict[str, Any] = {
    "type": "object",
    "description": "A call to make later. Fields as in async_to; null counts as absent, except for json.",
    "required": ["target"],
    "additionalProperties": False,
    "properties": {
        "id": {
            **_TEXT,
            "format": "uuid",
            "description": "Makes a repeat harmless for 24 hours. Without it one is generated.",
        },
        "target": {
            "description": "A path of the application, an absolute URL, or one of the two as an object.",
            "oneOf": [
                {**_TEXT, "minLength": 1, "maxLength": 8_192, "pattern": "^(/|[Hh][Tt][Tt][Pp][Ss]?://)"},
                {
                    "type": "object",
                    "required": ["controller", "action"],
                    "additionalProperties": False,
                    "properties": {"controller": _TEXT, "action": _TEXT},
                },
                {
                    "type": "object",
                    "required": ["url"],
                    "additionalProperties": False,
                    "properties": {"url": _TEXT},
                },
                {
                    "type": "object",
                    "required": ["upstream", "path"],
                    "additionalProperties": False,
                    "properties": {"upstream": _TEXT, "path": _TEXT},
                },
            ],
        },
        "params": {
            "description": "The body: an object (a form, or JSON by `format`), or a string sent as it is. "
            "At most 64 levels deep."
        },
        "format": _option("format"),
        "json": {"description": "The body instead of params: any value at most 64 levels deep, sent as JSON."},
        "text": {**_TEXT, "description": "The body instead of params: text in UTF-8."},
        "base64": {**_TEXT, "contentEncoding": "base64", "description": "The body instead of params: bytes."},
        **{option.name: _option(option.name) for option in OPTIONS if option.in_json and option.name != "format"},
        "trace_id": {**_TEXT, "pattern": "^[0-9a-f]{32}$"},
    },
}

_NEVER_NULL = frozenset({"target", "params", "json"})  #: those two accept any value, null too


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that accepts null too."""
    if "oneOf" in schema:
        return {**schema, "oneOf": [*schema["oneOf"], {"type": "null"}]}
    nullable = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


_MESSAGE["properties"] = {
    name: schema if name in _NEVER_NULL else _or_null(schema) for name, schema in _MESSAGE["properties"].items()
}

_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "message", "where", "advice", "outcome_unknown"],
    "properties": {
        "error": {**_TEXT, "description": "One word for a program."},
        "message": {**_TEXT, "description": "What was wrong."},
        "where": {
            **_TEXT,
            "description": "The field or header, `[3].target` in an array; empty for the whole request.",
        },
        "advice": {**_TEXT, "description": "What to do."},
        "outcome_unknown": {
            "type": "boolean",
            "description": "True if the messages may be stored: send them again under the same ids.",
        },
    },
}

_REFUSALS = {
    "400": "Not JSON, not HTTP, or a header that occurs twice, is not text or is not allowed here.",
    "401": "The token is missing or unknown.",
    "403": "Host is not a name of this intake, or the request comes from a web page.",
    "408": "The request took too long to arrive.",
    "413": "Too many messages or bytes; the message names the setting.",
    "415": "Not application/json, X-AP4R is missing, or there is a Content-Encoding.",
    "422": "A field is invalid, or an id was used for other content.",
    "429": "Too many messages a second from this caller. Retry-After says when.",
    "500": "A defect of ap4r.",
    "503": "The store cannot be used now, or its answer was lost (outcome_unknown). Retry-After says when.",
}


def describe() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ap4r intake",
            "version": __version__,
            "description": "Put messages, each a call to be made later, through a dispatcher. An answer of success "
            "means that they are stored durably.",
        },
        "servers": [{"url": "http://127.0.0.1:7438"}],
        "security": [{}, {"token": []}],
        "paths": {"/messages": {"post": _post_messages()}, "/queues/{name}": {"post": _post_queue()}},
        "components": {
            "schemas": {"Message": _MESSAGE, "Error": _ERROR},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Required if the intake listens for other hosts, or if it has a token.",
                }
            },
        },
    }


def document() -> bytes:
    """Return the document as it is served."""
    return json.dumps(describe(), indent=2, ensure_ascii=False).encode() + b"\n"


def _post_messages() -> dict[str, Any]:
    message = {"$ref": "#/components/schemas/Message"}
    one_id = {**_TEXT, "format": "uuid"}
    answer = {
        "oneOf": [
            {"type": "object", "required": ["id"], "additionalProperties": False, "properties": {"id": one_id}},
            {
                "type": "object",
                "required": ["ids"],
                "additionalProperties": False,
                "properties": {"ids": {"type": "array", "items": one_id, "description": "In the order given."}},
            },
        ]
    }
    return {
        "operationId": "putMessages",
        "summary": "Put one message, or several all or nothing",
        "parameters": [_key_header()],
        "requestBody": {
            "required": True,
            "content": {
                _JSON_TYPE: {
                    "schema": {"oneOf": [message, {"type": "array", "items": message, "minItems": 1, "maxItems": 1000}]}
                }
            },
        },
        "responses": {
            "202": {"description": "Stored durably, now or before.", "content": {_JSON_TYPE: {"schema": answer}}},
            **_refusals(),
        },
    }


def _post_queue() -> dict[str, Any]:
    options = {
        "name": "X-AP4R",
        "in": "header",
        "required": True,
        "description": "name=value with commas between them; target_url must be among them.",
        "schema": {**_TEXT, "minLength": 1},
        "example": "dispatch_mode=HTTP, target_method=POST, target_url=http://127.0.0.1:8000/search/reindex",
    }
    name = {"name": "name", "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1, "maxLength": 128}}
    return {
        "operationId": "putRaw",
        "summary": "Put one message as AP4R accepted it: a raw body, options in a header",
        "parameters": [name, options, _key_header()],
        "requestBody": {"content": {"*/*": {"schema": {}}}},
        "responses": {
            "200": {"description": "Stored durably; the id.", "content": {"text/plain": {"schema": _TEXT}}},
            **_refusals(),
        },
    }


def _key_header() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Makes a repeat harmless for 24 hours, for messages without an id.",
        "schema": {**_TEXT, "minLength": 1, "maxLength": 255},
    }


def _refusals() -> dict[str, Any]:
    content = {_JSON_TYPE: {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": says, "content": content} for status, says in _REFUSALS.items()}
