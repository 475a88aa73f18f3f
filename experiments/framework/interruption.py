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


@contextlib.contextmanager
def watch(*, at_once: bool = False) -> Iterator[Stop]:
    """Within: a signal only makes `stop` true, so that a step can be finished and saved; a second one ends the process at once.

    at_once: the signal raises Preempted wherever the program is, for code whose every lasting result is on disk already.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop:
            os._exit(128 + number)
        stop.name = signal.Signals(number).name
        if at_once:
            raise Preempted(stop.name)

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
