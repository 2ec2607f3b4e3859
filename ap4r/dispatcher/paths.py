"""The paths of the intake: /messages, /queues/NAME and /openapi.json, and nothing anywhere else."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ap4r.dispatcher.door import JSON, Arrived, Door
from ap4r.dispatcher.refusal import Refusal


class Messages(Resource):
    """/messages"""

    isLeaf = True

    def __init__(self, door: Door) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._door = door

    def render(self, request: Any) -> int:
        """Take messages as JSON."""
        if request.postpath:
            return not_found(request)
        if request.method != b"POST":
            return not_allowed(request, "POST")
        self._door.post_json(request)
        return NOT_DONE_YET


class Queues(Resource):
    """/queues/NAME"""

    isLeaf = True

    def __init__(self, door: Door) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._door = door

    def render(self, request: Any) -> int:
        """Take a message as AP4R did."""
        # Twisted has undone the percent-encoding. What is not UTF-8 becomes what no queue's name may have.
        name = b"/".join(request.postpath).decode("utf-8", "surrogateescape")
        if not name:
            return not_found(request)
        if request.method != b"POST":
            return not_allowed(request, "POST")
        self._door.post_raw(request, name)
        return NOT_DONE_YET


class OpenApi(Resource):
    """/openapi.json"""

    isLeaf = True

    def __init__(self, document: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._document = document

    def render(self, request: Any) -> int:
        """Give the document."""
        if request.method not in (b"GET", b"HEAD"):
            return not_allowed(request, "GET, HEAD")
        request.respond(200, JSON, self._document, {})
        return NOT_DONE_YET


class Nowhere(Resource):
    """Every other path."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Give the same for what is below."""
        return self

    def render(self, request: Any) -> int:
        """Say that nothing is here."""
        return not_found(request)


def not_found(request: Arrived) -> int:
    """Answer 404."""
    refusal = Refusal(404, "not_found", "nothing is at this path", "", "GET /openapi.json tells what there is")
    request.respond(404, JSON, refusal.body, {})
    return NOT_DONE_YET


def not_allowed(request: Arrived, allowed: str) -> int:
    """Answer 405."""
    refusal = Refusal(405, "wrong_method", "this path does not take that method", "", f"use {allowed}")
    request.respond(405, JSON, refusal.body, {"Allow": allowed})
    return NOT_DONE_YET
