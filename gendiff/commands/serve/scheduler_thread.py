"""The thread of the scheduler: it takes turns while there is work, and sleeps while there is none."""

import contextlib
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from gendiff.commands.serve.request_scheduler import RequestScheduler, Ticket

MOST_ERRORS = 3
"""Turns in a row that may fail before the thread gives up: then the server is not healthy, and a supervisor starts it
again.
"""


class SchedulerThread:
    """Runs within `with`. Threads add requests by `submit`."""

    def __init__(self, batcher: RequestScheduler) -> None:
        self.batcher = batcher
        self._work, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)

    def __enter__(self) -> "SchedulerThread":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._work.set()
        self._thread.join()

    @property
    def healthy(self) -> bool:
        """Whether requests are being answered."""
        return self._thread.is_alive()

    def submit(self, request: Any, words: Any, tell: Callable[[Any], None], client: str = "") -> Ticket:
        """As `RequestScheduler.submit`, and the thread begins with it."""
        ticket = self.batcher.submit(request, words, tell, client)
        self._work.set()
        return ticket

    def cancel(self, ticket: Ticket) -> bool:
        """As `RequestScheduler.cancel`."""
        return self.batcher.cancel(ticket)

    def _run(self) -> None:
        errors = 0
        while not self._ended.is_set() and errors < MOST_ERRORS:
            self._work.clear()  # before the turn, which sees all that came until now
            try:
                busy, errors = self.batcher.turn(), 0
            except Exception:
                with contextlib.suppress(OSError, ValueError):  # whoever reads the log may be gone
                    traceback.print_exc(file=sys.stderr)
                busy, errors = True, errors + 1
            if not busy and not self._ended.is_set():
                self._work.wait()
        self.batcher.close(
            "the server is stopping" if self._ended.is_set() else "the server cannot answer any more: start it again"
        )
