"""SIGTERM and SIGUSR1, which batch systems send before they take the machine away, and SIGINT, which Ctrl-C sends."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from experiments.framework.errors import Preempted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name))


class Stop:
    """Whether a signal has come, and its name as text."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def __str__(self) -> str:
        return "no signal" if self.signal is None else signal.Signals(self.signal).name


@contextlib.contextmanager
def immediate() -> Iterator[None]:
    """Within: a signal raises Preempted wherever the program is; a second one ends the process at once.

    For code whose every lasting result is on disk already.
    """

    def stop(number: int) -> None:
        raise Preempted(signal.Signals(number).name)

    with _handled(stop):
        yield


@contextlib.contextmanager
def deferred() -> Iterator[Stop]:
    """Within: a signal only makes `stop` true, so that a step can be finished and saved; a second one ends the process at once."""
    stop = Stop()

    def note(number: int) -> None:
        stop.signal = number

    with _handled(note):
        yield stop


@contextlib.contextmanager
def _handled(first: Callable[[int], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)
        first(number)

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
