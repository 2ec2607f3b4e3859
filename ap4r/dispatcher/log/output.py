"""Where lines go: an observer of Twisted's log that prints ours, and what else there is worth it, one line an event."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from typing import Any, Protocol

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

from ap4r.dispatcher.log.messages import Line

_LEVELS = {"debug": LogLevel.debug, "info": LogLevel.info, "warn": LogLevel.warn, "error": LogLevel.error}
_RANK = {LogLevel.debug: 0, LogLevel.info: 1, LogLevel.warn: 2, LogLevel.error: 3, LogLevel.critical: 4}
_WORDS = {LogLevel.debug: "debug", LogLevel.info: "info", LogLevel.warn: "warn", LogLevel.error: "error"}
#: What an application prints is for whoever reads the log.
_PRINTED = frozenset({"stdout", "stderr"})

_logger = Logger(namespace="ap4r")


class TextOutput(Protocol):
    """Where text goes: a file, or Twisted's own LogFile."""

    def write(self, text: str, /) -> object:
        """Write it."""

    def flush(self) -> object:
        """Let it be seen."""


def write_line(line: Line) -> None:
    """Put a line into Twisted's log, from where the observer in charge prints it."""
    _logger.emit(_LEVELS[line.level], "{ap4r_line.text}", ap4r_line=line)


class Forwarded(logging.Handler):
    """Puts what parts of ap4r tell the standard library's log into Twisted's, at its level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record down."""
        words = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
        level = next((word for least, word in words if record.levelno >= least), "debug")
        write_line(Line(level, record.name, self.format(record)))


def forward_logging() -> None:
    """See to it that what ap4r's own loggers tell is in the dispatcher's log, unless somebody takes it elsewhere."""
    logger = logging.getLogger("ap4r")
    if not logger.hasHandlers():
        logger.addHandler(Forwarded())


@implementer(ILogObserver)
class LineObserver:
    """Prints events of at least a level as text or JSON lines.

    Of other parts of the process come warnings and errors, and what they print; at level debug everything.
    """

    def __init__(self, output: TextOutput, level: str, format: str) -> None:
        self._output = output
        self.level = level
        self.format = format

    def wants_debug(self) -> bool:
        """Tell whether lines of level debug are printed."""
        return self.level == "debug"

    def __call__(self, event: LogEvent) -> None:
        """Print an event (ILogObserver)."""
        line = _line_of_log_event(event, self.level == "debug")
        if line is None or _RANK[_LEVELS[line.level]] < _RANK[_LEVELS[self.level]]:
            return
        at = float(event.get("log_time", 0.0))
        # A reader that has gone away must not stop the work.
        try:
            self._output.write(_as_json(line, at) if self.format == "json" else _as_text(line, at))
            self._output.flush()
        except (OSError, ValueError):
            return


def standard_output() -> TextOutput:
    """Give the process's own standard output, also after Twisted has put its log in its place."""
    output = sys.__stdout__ if sys.__stdout__ is not None else sys.stdout
    if isinstance(output, io.TextIOWrapper):
        # A line with a character that the terminal's encoding lacks would be lost as a whole.
        output.reconfigure(errors="backslashreplace")
    return output


def _line_of_log_event(event: LogEvent, everything: bool) -> Line | None:
    line = event.get("ap4r_line")
    if isinstance(line, Line):
        return line
    level = event.get("log_level") or LogLevel.info
    source = str(event.get("log_namespace", ""))
    if not everything and _RANK[level] < _RANK[LogLevel.warn] and source not in _PRINTED:
        return None
    text = formatEvent(event) or ""
    failure: Any = event.get("log_failure")
    if failure is not None and failure.getErrorMessage() not in text.split("\n"):
        text = f"{text}\n{failure.getTraceback().rstrip()}"
    if not text.strip():
        return None
    word = "info" if source in _PRINTED else _WORDS.get(level, "error")
    return Line(word, source or "log", text.rstrip())


def _as_text(line: Line, at: float) -> str:
    local = time.localtime(at)
    day, zone = time.strftime("%Y-%m-%dT%H:%M:%S", local), time.strftime("%z", local)
    text = line.text.replace("\n", "\n    ")
    return f"{day}.{int(at % 1 * 1000):03d}{zone} {line.level:5} {line.name}: {text}\n"


def _as_json(line: Line, at: float) -> str:
    day = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    record = {"at": f"{day}.{int(at % 1 * 1000):03d}Z", "level": line.level, "event": line.name, "text": line.text}
    return json.dumps({**record, **line.fields}, ensure_ascii=False, default=str) + "\n"
