"""One line of JSON for each request: when, who, what, how it was answered, and how long that took. Never its prompt."""

import contextlib
import datetime
import time
from typing import TextIO

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gendiff.commands.serve import api_keys

LEFT = 499
"""Status of a request whose client has left before its answer."""
SHOWN = 200
"""Characters of a path."""


class AccessLog:
    """Writes lines to a file; None: nowhere. An answer does not fail where its line cannot be written."""

    def __init__(self, file: TextIO | None) -> None:
        self._file = file

    def __call__(
        self,
        client: tuple[str, int] | None,
        method: str,
        path: str,
        status: int,
        size: int,
        seconds: float,
        key: int | None = None,
    ) -> None:
        """Add the line of a request. key: number of the key that it had. size: bytes of the answer's body."""
        if self._file is None:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        about: dict[str, object] = {
            "time": now,
            "client": client and client[0],
            "key": key,
            "method": method,
            "path": path[:SHOWN],
        }
        about |= {"status": status, "bytes": size, "seconds": round(seconds, 3)}
        with contextlib.suppress(OSError):
            self._file.write(msgspec.json.encode(about).decode() + "\n")
            self._file.flush()


class LoggedApp:
    """ASGI middleware around everything."""

    def __init__(self, app: ASGIApp, log: AccessLog) -> None:
        self._app, self._log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, size, begin = LEFT, 0, time.monotonic()

        async def counted(message: Message) -> None:
            nonlocal status, size
            status, size = message.get("status", status), size + len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            about = scope.get("client"), scope["method"], scope["path"]
            self._log(*about, status, size, time.monotonic() - begin, scope.get(api_keys.NUMBER))
