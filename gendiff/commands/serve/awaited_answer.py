"""One request on its way, seen from the event loop that it came to: its events, whatever they are, and its end."""

import abc
import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

from gendiff.commands.serve.api_errors import BUSY, FAILED, INVALID, ApiError
from gendiff.commands.serve.request_scheduler import BROKEN, NOT_FINITE, STOPPED, Closed, Failed, Full, Ticket
from gendiff.commands.serve.scheduler_thread import SchedulerThread

Gone = Callable[[], Awaitable[object]]
"""Ends when the client has left."""


class AwaitedAnswer(abc.ABC):
    """The answer of a request. Raises ApiError where the server has no room or is stopping.

    last: type of the event that ends a row. left: whether it was left before its end.
    """

    last: type
    left = False

    def __init__(self, scheduler: SchedulerThread, request: Any, words: Any, client: str) -> None:
        self._scheduler = scheduler
        self._loop, self._events = asyncio.get_running_loop(), asyncio.Queue[Any]()
        try:
            self._ticket: Ticket = scheduler.submit(request, words, self._tell, client)
        except Full as full:
            raise ApiError(
                str(full), status=429, kind=BUSY, code="queue_full", headers={"Retry-After": str(full.seconds)}
            ) from full
        except Closed as closed:
            raise ApiError(str(closed), status=503, kind=FAILED, code=STOPPED) from closed

    @abc.abstractmethod
    async def json_body(self, gone: Gone) -> dict[str, object] | None:
        """The body of the answer once it is complete; None where the client has left."""

    @abc.abstractmethod
    def streamed(self, gone: Gone) -> AsyncIterator[bytes]:
        """Server-sent events, the last of which says why there is no more where it fails."""

    async def events(self, gone: Gone) -> AsyncGenerator[Any, None]:
        """Events of the request, until each of its rows has ended.

        Once the client has left there are no more, and nothing more is computed. Raises ApiError where that fails.
        """
        leaving, left = asyncio.ensure_future(gone()), self._ticket.count
        tasks: set[asyncio.Task[object]] = {leaving}
        try:
            while left:
                coming = asyncio.ensure_future(self._events.get())
                tasks = {leaving, coming}
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    return
                event = coming.result()
                if isinstance(event, Failed):
                    raise self._failed(event)
                left -= isinstance(event, self.last)
                yield event
        finally:
            for task in tasks:
                task.cancel()
            self.leave()

    def leave(self) -> None:
        """Nothing more is computed. It changes nothing where all is done, and may be called twice."""
        self.left |= self._scheduler.cancel(self._ticket)

    def _tell(self, event: object) -> None:
        """From the thread of the turns."""
        with contextlib.suppress(RuntimeError):  # the loop has ended with the server
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def _failed(self, event: Failed) -> ApiError:
        """Numbers that leave the range are the request's fault, as by much guidance; everything else is the
        server's.
        """
        status, kind = {NOT_FINITE: (422, INVALID), BROKEN: (500, FAILED), STOPPED: (503, FAILED)}[event.cause]
        code = f"{self._scheduler.batcher.work}_failed" if event.cause == BROKEN else event.cause
        return ApiError(event.reason, status=status, kind=kind, code=code)
