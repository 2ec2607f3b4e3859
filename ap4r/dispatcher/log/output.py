"""The output of the log: an observer of Twisted's log that prints our lines and other important ones, one an event."""

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
#: Output of an application is for the readers of the log.
_PRINTED = frozenset({"stdout", "stderr"})

_logger = Logger(namespace="ap4r")


class TextOutput(Protocol):
    """The destination of text: a file, or Twisted's own LogFile."""

    def write(self, text: str, /) -> object:
        """Write a text."""

    def flush(self) -> object:
        """Flush the text."""


def write_line(line: Line) -> None:
    """Put a line into Twisted's log, from which the observer prints it."""
    _logger.emit(_LEVELS[line.level], "{ap4r_line.text}", ap4r_line=line)


class Forwarded(logging.Handler):
    """Passes records of ap4r's standard-library loggers to Twisted's log, at their level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record."""
        words = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
        level = next((word for least, word in words if record.levelno >= least), "debug")
        write_line(Line(level, record.name, self.format(record)))


def forward_logging() -> None:
    """Pass records of ap4r's own loggers to the dispatcher's log, unless another handler is configured."""
    logger = logging.getLogger("ap4r")
    if not logger.hasHandlers():
        logger.addHandler(Forwarded())


@implementer(ILogObserver)
class LineObserver:
    """Prints events of at least a level as text or JSON lines.

    From other parts of the process it prints warnings, errors, and what they print; at level debug everything.
    """

    def __init__(self, output: TextOutput, level: str, format: str) -> None:
        self._output = output
        self.level = level
        self.format = format

    def wants_debug(self) -> bool:
        """Return whether lines of level debug are printed."""
        return self.level == "debug"

    def __call__(self, event: LogEvent) -> None:
        """Print an event (ILogObserver)."""
        line = _line_of_log_event(event, self.level == "debug")
        if line is None or _RANK[_LEVELS[line.level]] < _RANK[_LEVELS[self.level]]:
            return
        at = float(event.get("log_time", 0.0))
        # A reader that closed the pipe must not stop the work.
        try:
            self._output.write(_as_json(line, at) if self.format == "json" else _as_text(line, at))
            self._output.flush()
        except (OSError, ValueError):
            return


def standard_output() -> TextOutput:
    """Return the process's own standard output, also after Twisted has replaced it by its log."""
    output = sys.__stdout__ if sys.__stdout__ is not None else sys.stdout
    if isinstance(output, io.TextIOWrapper):
        # A line with a character that the terminal's encoding does not have would be lost as a whole.
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
