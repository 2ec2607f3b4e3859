"""A message built step by step, as in AP4R: body, header, http_header, format; and blocks that are entered once.

The builder checks what it can at once and stores nothing: the handle sends the message when its block ends cleanly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Generic, TypeVar

from ap4r.describe.options import OPTIONS
from ap4r.errors import BlockUsed, OptionRefused

_log = logging.getLogger("ap4r.outbox")

#: The options that AP4R had under other names.
_AP4R_NAMES = {option.ap4r_name: option.name for option in OPTIONS if option.ap4r_name}
_NAMES = sorted(option.name for option in OPTIONS if option.in_builder)


class MessageBuilder:
    """The object of `with ap4r.message.message(target) as m:`. `message_id` is set when the block has ended cleanly."""

    def __init__(self, params: object, options: dict[str, Any]) -> None:
        self.params = params
        self.options = dict(options)
        self.message_id: str | None = None
        self._has_keys = False
        self._own: dict[str, object] | None = None

    def body(self, key: str, value: object) -> None:
        """Add a key to the params; a later value for the same key replaces it.

        :raises OptionRefused: the params are not a mapping.
        """
        if self.params is None:
            self.params = self._own = {}
        elif not isinstance(self.params, dict):
            raise OptionRefused("body", key, f"the params are a {type(self.params).__name__}, which has no keys")
        elif self.params is not self._own:
            # Never the caller's own mapping.
            self.params = self._own = dict(self.params)
        self.params[key] = value
        self._has_keys = True

    def body_as(self, params: object, format: str | None = None) -> None:
        """Set the params as a whole: a text, XML, a list. With `format`, also set their format.

        :raises OptionRefused: `body` has added keys, which would be lost.
        """
        if self._has_keys:
            raise OptionRefused(
                "body_as", params, "body() has added keys, which would be lost; call body_as() before it"
            )
        self.params = params
        if format is not None:
            self.format(format)

    def header(self, name: str, value: object) -> None:
        """Set an option of the delivery: one of `async_to`, or AP4R's own name for it.

        :raises OptionRefused: the option does not exist.
        """
        option = _AP4R_NAMES.get(name, name)
        if option not in _NAMES:
            nearest = get_close_matches(str(name), _NAMES, n=1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            advice = f"{hint}one of {', '.join(_NAMES)}; set a header of the request with http_header()"
            raise OptionRefused("header", name, advice)
        if name == "dispatch_mode" and isinstance(value, str):
            value = value.lower()
        self.options[option] = value

    def option(self, name: str, value: object) -> None:
        """Set an option of the protocol, such as `wsdl`."""
        self.options[name] = value

    def http_header(self, name: str, value: str) -> None:
        """Add a header of the request; a later value for the same name replaces it."""
        headers = dict(self.options.get("headers") or {})
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        self.options["headers"] = {**headers, name: value}

    def format(self, format: str) -> None:
        """Set how the params are written: "form", "json", "text", "xml", "yaml", "multipart" or "raw"."""
        self.options["format"] = format


@contextmanager
def building(send: Callable[..., str], params: object, options: dict[str, Any]) -> Iterator[MessageBuilder]:
    """Yield a builder; at a clean end of the block call `send` with its content, and store the id that it returns."""
    builder = MessageBuilder(params, options)
    yield builder
    builder.message_id = send(builder.params, **builder.options)


T = TypeVar("T")


class SingleUse(AbstractContextManager[T], Generic[T]):
    """A context manager around one that cannot be entered twice."""

    def __init__(self, name: str, block: AbstractContextManager[T]) -> None:
        self._name = name
        self._block = block
        self._is_used = False
        self._is_open = False

    def __enter__(self) -> T:
        """Enter the block.

        :raises BlockUsed: it was entered before.
        """
        if self._is_used:
            raise BlockUsed(self._name)
        self._is_used = True
        entered = self._block.__enter__()
        self._is_open = True
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Leave the block."""
        self._is_open = False
        return self._block.__exit__(kind, error, traceback)

    def __del__(self) -> None:
        if self._is_open:
            _log.warning(
                "a %s() block was entered and never left, so it is rolled back, and no message created in it is "
                "stored; use it in a `with` statement",
                self._name,
            )
