"""SIGTERM and SIGUSR1, which batch systems send before they take the machine away, and SIGINT, which Ctrl-C sends."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from experiments.framework.errors import Preempted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name))


class Stop:
    """Whether a signal has come, and its name as text."""

    name = ""

    def __bool__(self) -> bool:
        return self.name != ""

    def __str__(self) -> str:
        return self.name or "no signal"


class _Handler:
    """What a signal does: the first one sets `stop`, and raises Preempted where that is wanted; the second one ends the process."""

    def __init__(self, at_once: bool) -> None:
        self.at_once, self.stop = at_once, Stop()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.stop:
            os._exit(128 + number)
        self.stop.name = signal.Signals(number).name
        if self.at_once:
            raise Preempted(self.stop.name)


@contextlib.contextmanager
def watch(*, at_once: bool = False) -> Iterator[Stop]:
    """Within: a signal only makes `stop` true, so that a step can be finished and saved; a second one ends the process at once.

    at_once: the signal raises Preempted wherever the program is, for code whose every lasting result is on disk already. One such watch
    within another takes the signals again, in case that something has taken them in between, and counts with the other.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield Stop()
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    outer = before[SIGNALS[0]]
    handler = outer if at_once and isinstance(outer, _Handler) and outer.at_once else _Handler(at_once)
    for number in SIGNALS:
        signal.signal(number, handler)
    try:
        yield handler.stop
    finally:
        for number, former in before.items():
            signal.signal(number, former)
