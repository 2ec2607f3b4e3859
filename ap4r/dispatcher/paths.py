"""The paths of the intake: /messages, /queues/NAME and /openapi.json. What they take is in their rules."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from ap4r.dispatcher.door import JSON, Door


class Messages(Resource):
    """/messages"""

    isLeaf = True

    def __init__(self, door: Door) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._door = door

    def render(self, request: Any) -> int:
        """Take messages as JSON."""
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
        request.respond(200, JSON, self._document, {})
        return NOT_DONE_YET
