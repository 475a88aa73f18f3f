"""The process of the server: it listens until a signal comes, answers what was begun, and tells which signal it was."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from gendiff.commands.serve.access_log import AccessLog, LoggedApp
from gendiff.commands.serve.limited_connections import LimitedConnection
from gendiff.runs import interruption
from gendiff.runs.errors import Preempted

LAST_SECONDS = 10
"""For which requests that are being answered may go on after a signal."""
SPARE_SECONDS = 5
"""After these, in which the others are told so, before uvicorn breaks them off."""
AT_ONCE = 4
"""Connections that are accepted before the limit on them is looked at."""
BACKLOG = 128
"""Connections that wait to be accepted."""


class SignalledServer(uvicorn.Server):
    """uvicorn raises a signal once more when it has ended, which the command line takes for the second one, that ends
    at once.
    """

    ended_by = ""

    def __init__(self, config: uvicorn.Config, give_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._give_up = give_up

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._stop) for number in interruption.SIGNALS}
        try:
            yield
        finally:
            for number, former in before.items():
                signal.signal(number, former)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)  # asyncio lets as many wait as it accepts at once

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        late = asyncio.get_running_loop().call_later(LAST_SECONDS, self._give_up)
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.ended_by, self.should_exit = signal.Signals(number).name, True


def config(app: ASGIApp, log: AccessLog) -> uvicorn.Config:
    """Of a server that says nothing but errors, and trusts no header about who asks.

    log_config: None, as uvicorn's own closes every handler of the process, whose streams may be others' (absl's closes
        its own).
    """
    return uvicorn.Config(
        LoggedApp(app, log),
        http=type("Connection", (LimitedConnection,), {"log": log}),
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=AT_ONCE,
        timeout_graceful_shutdown=LAST_SECONDS + SPARE_SECONDS,
    )


def run(app: ASGIApp, listener: socket.socket, give_up: Callable[[], None], log: AccessLog) -> None:
    """Serve at a socket that listens, until a signal. SIGINT is the end that a person wants; any other one raises
    Preempted.

    give_up: called where requests go on for LAST_SECONDS after the signal. It must end them.
    """
    server = SignalledServer(config(app, log), give_up)
    server.run(sockets=[listener])
    if server.ended_by not in ("", signal.Signals.SIGINT.name):
        raise Preempted(server.ended_by, "requests that were begun are answered")
