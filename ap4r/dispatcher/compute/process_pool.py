"""Processes that compute for the dispatcher. Each has limits of time and memory, and is killed when it exceeds them.

A long computation in Python blocks every thread of a process, so input of others that may be large or malicious is
read and written in one of these. Calls with one key run one after another; calls with other keys run beside them.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from ap4r.dispatcher.compute.child import LENGTH_BYTES, NotComputed, Stopping, framed

DESCRIBING_PROCESSES = 4  #: for descriptions, so that three that take their whole time do not block a fourth
MEMORY_BYTES = 1024 * 1024 * 1024  #: of address space, a process
_START_SECONDS = 20.0  #: additional, if the process has to start first
_WALL_FACTOR = 3.0  #: the factor by which a busy machine may lengthen a call before it is killed
_IDLE_SECONDS = 60.0
_KEPT_KEYS = 1_000


class Computing(Protocol):
    """Runs calls that may take long."""

    def run(self, key: Hashable, call: Callable[[], Any], seconds: float) -> Deferred[Any]:
        """Run a call that can be pickled; the Deferred has its result, or fails with `NotComputed`.

        :param key: calls of one source have one key, and run one after another.
        :param seconds: of CPU time that it may take.
        """

    def stop(self) -> None:
        """End everything now; running and waiting calls fail."""


class _Task:
    __slots__ = ("answer", "call", "key", "seconds")

    def __init__(self, key: Hashable, call: Callable[[], Any], seconds: float) -> None:
        self.key = key
        self.call = call
        self.seconds = seconds
        self.answer: Deferred[Any] = Deferred(_dropped)


def _dropped(answer: Deferred[Any]) -> None:
    """Do nothing: the result is dropped, but the call runs to its end or its deadline."""


class _Child(ProcessProtocol):
    """One process, from the dispatcher's side."""

    def __init__(self, pool: Processes) -> None:
        self._pool = pool
        self._received = bytearray()
        self.task: _Task | None = None
        self.deadline: IDelayedCall | None = None
        self.last_key: Hashable = None
        self.is_new = True
        self.is_killed = False

    def outReceived(self, data: bytes) -> None:
        """Receive a part of a result."""
        self._received += data
        if len(self._received) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._received[:LENGTH_BYTES], "big")
            if len(self._received) >= end:
                succeeded, result = pickle.loads(memoryview(self._received)[LENGTH_BYTES:end])
                self._received.clear()
                self.is_new = False
                self._pool.ended(self, succeeded, result)

    def errReceived(self, data: bytes) -> None:
        """Ignore the messages of a library."""

    def processExited(self, reason: Failure) -> None:
        """Record that the process has ended."""
        self._pool.gone(self, reason)

    def kill(self) -> None:
        """Kill the process."""
        self.is_killed = True
        try:
            transport: Any = self.transport
            transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass


class Processes:
    """A few processes, started when they are needed and ended when they are not.

    Calls of a key that has never succeeded may not use the last of them, so that keys known to be good can proceed.
    """

    def __init__(self, reactor: Any, most: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._reactor = reactor
        self._most = most
        self._memory_bytes = memory_bytes
        self._children: set[_Child] = set()
        self._waiting: deque[_Task] = deque()
        self._proven: OrderedDict[Hashable, None] = OrderedDict()
        self._idle: IDelayedCall | None = None

    def run(self, key: Hashable, call: Callable[[], Any], seconds: float) -> Deferred[Any]:
        """Run a call (Computing)."""
        task = _Task(key, call, seconds)
        self._waiting.append(task)
        self._begin_waiting()
        return task.answer

    def stop(self) -> None:
        """End everything now (Computing)."""
        waiting, self._waiting = self._waiting, deque()
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        for child in list(self._children):
            child.kill()
            self._leave(child, Stopping("the dispatcher stops"))
        for task in waiting:
            _fail(task, Stopping("the dispatcher stops"))

    def ended(self, child: _Child, succeeded: bool, result: Any) -> None:
        """Receive a result (called by the child)."""
        task, child.task = child.task, None
        if child.deadline is not None and child.deadline.active():
            child.deadline.cancel()
        assert task is not None
        if succeeded:
            self._proven[task.key] = None
            self._proven.move_to_end(task.key)
            if len(self._proven) > _KEPT_KEYS:
                self._proven.popitem(last=False)
        self._begin_waiting()
        self._watch_idle()
        if not task.answer.called:
            (task.answer.callback if succeeded else task.answer.errback)(result)

    def gone(self, child: _Child, reason: Failure) -> None:
        """Record that a process has ended (called by the child): by its limits, or because it was killed."""
        if child in self._children:
            if getattr(reason.value, "signal", None) == signal.SIGXCPU and child.task is not None:
                problem = f"it took longer than {child.task.seconds:g} s"
            else:
                problem = f"its process ended: {reason.getErrorMessage()}"
            self._leave(child, NotComputed(problem))

    def _begin_waiting(self) -> None:
        running = {child.task.key for child in self._children if child.task is not None}
        for task in list(self._waiting):
            if task.key in running:
                continue
            others = [key for key in running if key not in self._proven]
            if task.key not in self._proven and self._most > 1 and len(others) >= self._most - 1:
                continue
            child = self._free_for(task.key)
            if child is None:
                return
            self._waiting.remove(task)
            running.add(task.key)
            self._begin(child, task)

    def _free_for(self, key: Hashable) -> _Child | None:
        free = [child for child in self._children if child.task is None]
        if free:
            return next((child for child in free if child.last_key == key), free[0])
        if len(self._children) >= self._most:
            return None
        child = _Child(self)
        # The child imports what this process imports, wherever it was started.
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        program = f"from ap4r.dispatcher.compute.child import main; main({self._memory_bytes})"
        command = [sys.executable, "-c", program]
        self._reactor.spawnProcess(child, sys.executable, command, env=environ)
        self._children.add(child)
        return child

    def _begin(self, child: _Child, task: _Task) -> None:
        child.task, child.last_key = task, task.key
        wall_seconds = task.seconds * _WALL_FACTOR + (_START_SECONDS if child.is_new else 0.0)
        child.deadline = self._reactor.callLater(wall_seconds, self._too_late, child)
        transport: Any = child.transport
        transport.write(framed((task.seconds, task.call)))

    def _too_late(self, child: _Child) -> None:
        seconds = child.task.seconds if child.task is not None else 0.0
        child.kill()
        self._leave(child, NotComputed(f"it took longer than {seconds:g} s"))

    def _leave(self, child: _Child, problem: NotComputed) -> None:
        self._children.discard(child)
        if child.deadline is not None and child.deadline.active():
            child.deadline.cancel()
        task, child.task = child.task, None
        if task is not None:
            self._proven.pop(task.key, None)
            _fail(task, problem)
        self._begin_waiting()

    def _watch_idle(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.reset(_IDLE_SECONDS)
        else:
            self._idle = self._reactor.callLater(_IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        for child in [child for child in self._children if child.task is None]:
            self._children.discard(child)
            transport: Any = child.transport
            transport.loseConnection()
        if self._children:
            self._watch_idle()


def _fail(task: _Task, problem: NotComputed) -> None:
    if not task.answer.called:
        task.answer.errback(problem)
