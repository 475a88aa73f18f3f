"""SIGTERM and SIGUSR1, which batch systems send before they take the machine away, and SIGINT, which Ctrl-C sends."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from gendiff.runs.errors import Preempted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name))
ECHO = 0.1
"""Seconds within which the same signal again is the same request: `timeout` and batch systems signal a process and then
its group.
"""
DEFERRED, SOON = "finishing this step, then saving", "leaving as soon as what runs now returns"


class Stop:
    """Whether a signal has come, and its name as text."""

    name = ""

    def __bool__(self) -> bool:
        return self.name != ""

    def __str__(self) -> str:
        return self.name or "no signal"


class _Handler:
    """What the first signal does: it sets `stop`, and raises Preempted where that is wanted."""

    def __init__(self, at_once: bool) -> None:
        self.at_once, self.stop = at_once, Stop()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        first, self.stop.name = not self.stop, self.stop.name or signal.Signals(number).name
        if self.at_once and first:
            raise Preempted(self.stop.name)


@contextlib.contextmanager
def watch(*, at_once: bool = False) -> Iterator[Stop]:
    """Within: a signal only makes `stop` true, so that a step can be finished and saved; a second one ends the process
    at once.

    at_once: the signal raises Preempted wherever the program is, for code whose every lasting result is on disk
    already. One such watch within another takes the signals again, in case that something has taken them in between,
    and counts with the other.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield Stop()
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    outer = before[SIGNALS[0]]
    handler = outer if at_once and isinstance(outer, _Handler) and outer.at_once else _Handler(at_once)
    same = handler is outer
    with contextlib.nullcontext() if same else _acknowledged(SOON if at_once else DEFERRED):
        for number in SIGNALS:
            signal.signal(number, handler)
        try:
            yield handler.stop
        finally:
            for number, former in before.items():
                signal.signal(number, former)


@contextlib.contextmanager
def _acknowledged(answer: str) -> Iterator[None]:
    """Within: a thread answers the first signal and ends the process at the second.

    Python runs a handler between two of its own instructions only, so none while the main thread compiles or waits for
    a step.
    """
    listening, ringing = os.pipe()
    os.set_blocking(ringing, False)
    thread = threading.Thread(target=_listen, args=(listening, answer), daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(ringing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(ringing)
        thread.join()
        os.close(listening)


def _listen(listening: int, answer: str) -> None:
    first, since = 0, 0.0
    while byte := os.read(listening, 1):
        number = byte[0]
        if number not in SIGNALS:
            continue
        if not first:
            first, since = number, time.monotonic()
            with contextlib.suppress(OSError):  # nobody may be left to read it
                os.write(2, f"{signal.Signals(number).name}: {answer}; once more leaves at once\n".encode())
        elif number != first or time.monotonic() - since > ECHO:
            os._exit(128 + number)
