"""Plain HTTP: the body in a format, the answer interpreted by its status."""

from __future__ import annotations

from collections.abc import Mapping

from ap4r.errors import OptionRefused, TargetRefused
from ap4r.formats import encode_form, encode_params
from ap4r.message.message import Message
from ap4r.message.target import MAX_URL_BYTES, Target
from ap4r.outcome.response import Answer, ResponseReading
from ap4r.protocols.base import Encoded, ProtocolCall, check_options

_BODILESS = ("GET", "HEAD")


class Http:
    """Calls an action of a web application."""

    def encode(self, call: ProtocolCall) -> Encoded:
        """Write the params in the call's format; with GET and HEAD a form becomes the query.

        :raises MessageError: the params cannot be written, or an option is not one of this protocol.
        """
        check_options(call, "http", ())
        if call.action is not None:
            advice = "only other protocols have an action; for an action by name the target is {'controller': …}"
            raise OptionRefused("action", call.action, advice)
        target, params, bodiless = call.target, call.params, call.method in _BODILESS
        if bodiless and isinstance(params, Mapping) and call.format == "form":
            target, params = _with_query(target, encode_form(params, call.max_body_bytes)), None
        body, content_type = encode_params(params, call.format, call.max_body_bytes)
        if body and bodiless:
            advice = "it has no body; give a mapping in format='form', which becomes the query, or use POST"
            raise OptionRefused("method", call.method, advice)
        headers = () if content_type is None else (("Content-Type", content_type),)
        return Encoded(target=target, method=call.method, headers=headers, body=body)

    def judge(self, answer: Answer, message: Message) -> ResponseReading | None:
        """Return None: the status decides."""
        return None


def _with_query(target: Target, query: str) -> Target:
    if not query:
        return target
    # A form may have unescaped brackets, a URL may not (RFC 3986, section 3.4).
    query = query.replace("[", "%5B").replace("]", "%5D")
    joint = "" if target.url.endswith(("?", "&")) else "&" if "?" in target.url else "?"
    url = target.url + joint + query
    if len(url) > MAX_URL_BYTES:
        problem = f"with its params it has {len(url)} bytes, and a URL at most {MAX_URL_BYTES}; use POST"
        raise TargetRefused(str(target), problem)
    return Target(url, target.upstream)
