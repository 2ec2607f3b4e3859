"""JSON-RPC 2.0 (https://www.jsonrpc.org/specification); answers of version 1.0 are read too."""

from __future__ import annotations

import json

from ap4r.formats.json import json_bytes
from ap4r.formats.plain_values import plain
from ap4r.formats.size_limit import SizeLimit
from ap4r.message.message import Message
from ap4r.outcome.response import Answer, Reason, ResponseReading
from ap4r.protocols.base import Encoded, ProtocolCall, check_action, check_options, not_a_list_or_mapping
from ap4r.protocols.response_text import json_text

#: The specification's section 5.1: errors of the caller. -32603 and all others are the server's.
CLIENT_CODES = frozenset({-32700, -32600, -32601, -32602})


class JsonRpc:
    """Calls a method of a JSON-RPC server."""

    def encode(self, call: ProtocolCall) -> Encoded:
        """Write a request object: a mapping is named params, a list positional ones. Its id is the message's.

        :raises MessageError: the params cannot be written, or an option is not one of this protocol.
        """
        check_options(call, "jsonrpc", ())
        request: dict[str, object] = {
            "jsonrpc": "2.0",
            "method": check_action(call, "jsonrpc", what="the name of the method"),
        }
        if call.params is not None:
            params = plain(call.params, "jsonrpc", SizeLimit(call.max_body_bytes))
            if not isinstance(params, (dict, list)):
                advice = "params are a mapping (by name) or a list (by position)"
                raise not_a_list_or_mapping(call.params, "jsonrpc", advice)
            request["params"] = params
        request["id"] = call.message_id
        return Encoded(
            target=call.target,
            headers=(("Content-Type", "application/json"), ("Accept", "application/json")),
            body=json_bytes(request),
        )

    def judge(self, answer: Answer, message: Message) -> ResponseReading | None:
        """Interpret a response object: a result is a success, an error is a failure whose code and text are kept.

        Version 1.0 has `result` and `error` in each answer, one of them null, and an error of any type.
        """
        well = 200 <= answer.status < 300
        try:
            response = json.loads(json_text(answer), parse_int=_number)
        except (ValueError, RecursionError):
            return ResponseReading(Reason.BAD_RESPONSE, "the answer is not JSON") if well else None
        error = response.get("error") if isinstance(response, dict) else None
        if isinstance(error, dict):
            code = error.get("code")
            is_client = isinstance(code, int) and code in CLIENT_CODES
            data = f" {json.dumps(error['data'], ensure_ascii=False)}" if error.get("data") is not None else ""
            detail = f"error {code}: {error.get('message')}{data}"
            return ResponseReading(Reason.CLIENT_FAULT if is_client else Reason.FAULT, detail)
        if not well:
            return None
        if error is not None:
            return ResponseReading(Reason.FAULT, f"error {json.dumps(error, ensure_ascii=False)}")
        if not isinstance(response, dict) or "result" not in response:
            return ResponseReading(Reason.BAD_RESPONSE, "the answer is not a JSON-RPC response with a result")
        if response.get("id") != message.id and response.get("id") != _request_id(message.body):
            return ResponseReading(Reason.BAD_RESPONSE, "the answer has the id of another request")
        return ResponseReading()


def _request_id(body: bytes) -> object:
    """Return the id in a request. A body that the caller wrote itself may have another one than its message."""
    try:
        request = json.loads(body, parse_int=_number)
    except (ValueError, RecursionError):
        return None
    return request.get("id") if isinstance(request, dict) else None


def _number(digits: str) -> int | float:
    # Python refuses to parse integers of more digits than this; their exact size does not matter here.
    return int(digits) if len(digits) <= 1_000 else float(digits)
