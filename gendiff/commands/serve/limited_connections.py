"""Connections that cannot hold the server up: a request must come whole in time, an answer must be taken, and only so
many are open at once. Also known as: protection against slow clients, slowloris.
"""

import asyncio
import contextlib
import resource

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from gendiff.commands.serve.access_log import AccessLog
from gendiff.commands.serve.api_errors import FAILED, ApiError
from gendiff.commands.serve.trusted_hosts import HEADERS

SECONDS = 10.0
"""For the headers of a request, and again for its body; also how long an answer may stand of which nothing is taken."""
MOST = 512
"""Connections that are open at once, where the process may open enough files."""


def most() -> int:
    """Connections that are open at once: at most half of the files that the process may open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if files == resource.RLIM_INFINITY else max(1, min(MOST, files // 2))


class LimitedConnection(H11Protocol):
    """One connection. Where there are too many, the one that has waited longest for the rest of its request gives way.

    log: gets the requests that never reach the application.
    """

    log = AccessLog(None)
    _reading: object = None
    _since = 0.0
    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        around = [each for each in self.connections if isinstance(each, LimitedConnection) and each._is_open]
        if len(around) > most():
            oldest = min((each for each in around if each._is_incomplete), key=lambda each: each._since)
            oldest._end(ApiError(f"more than {most()} connections are open", status=503, kind=FAILED, code="busy"))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._late, self._stuck):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(SECONDS, self._check_taken, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def send_400_response(self, msg: str) -> None:
        self._end(ApiError(msg))

    def shutdown(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self._end(ApiError("the server is stopping", status=503, kind=FAILED, code="stopping"))
        else:
            super().shutdown()

    @property
    def _is_open(self) -> bool:
        return not self.transport.is_closing()

    @property
    def _is_incomplete(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def _watch(self) -> None:
        """Time runs while a request is incomplete, and begins anew with its body."""
        if self.conn.their_state is self._reading:
            return
        self._reading, self._since = self.conn.their_state, self.loop.time()
        if self._late is not None:
            self._late.cancel()
        if self._is_incomplete and self._is_open:
            part = "headers" if self._reading is h11.IDLE else "body"
            refused = ApiError(f"the {part} did not come within {SECONDS:g} s", status=408, code="timeout")
            self._late = self.loop.call_later(SECONDS, self._end, refused)

    def _check_taken(self, before: int) -> None:
        size = self.transport.get_write_buffer_size()
        if size >= before:
            self.transport.abort()
        else:
            self._stuck = self.loop.call_later(SECONDS, self._check_taken, size)

    def _end(self, refused: ApiError) -> None:
        """Close it, with an answer where the request has none. One that waits for another request ends silently."""
        answered = self.cycle is not None and self.cycle.response_complete
        before = self.conn.our_state
        if not answered and before in (h11.IDLE, h11.SEND_RESPONSE):
            body = msgspec.json.encode(refused.body)
            about = (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())
            response = h11.Response(status_code=refused.status, headers=[*about, (b"connection", b"close"), *HEADERS])
            with contextlib.suppress(h11.LocalProtocolError):  # an answer to HEAD has no body
                for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            if before is h11.IDLE:
                self.log(self.client, "", "", refused.status, len(body), self.loop.time() - self._since)
        self.transport.close()
