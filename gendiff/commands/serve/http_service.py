"""What the servers of pictures and of texts have in common over HTTP: keys, hosts, errors in OpenAI's form, bodies that
are read no further than allowed, answers that a client may leave, and what machines ask of the server.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from gendiff.commands.serve import api_keys, service_metrics
from gendiff.commands.serve.access_log import LEFT
from gendiff.commands.serve.api_errors import FAILED, INVALID, NOT_FOUND, ApiError
from gendiff.commands.serve.awaited_answer import AwaitedAnswer
from gendiff.commands.serve.request_scheduler import RequestScheduler
from gendiff.commands.serve.scheduler_thread import SchedulerThread
from gendiff.commands.serve.service_metrics import ServiceMetrics
from gendiff.commands.serve.trusted_hosts import TrustedHosts

Begun = Callable[[Request], Awaitable[tuple[AwaitedAnswer, bool]]]
"""Reads a request and submits it: its answer, and whether that is a stream. Raises ApiError where it is refused."""


class HttpService:
    """An application with a scheduler, to which routes are added.

    app: computes while its lifespan lasts. scheduler: its thread. about: of the model, for /v1/models.
    """

    def __init__(
        self,
        batcher: RequestScheduler,
        name: str,
        about: Mapping[str, object],
        hosts: Collection[str] | None,
        keys: Sequence[str],
    ) -> None:
        self.scheduler, self._metrics = SchedulerThread(batcher), ServiceMetrics(batcher)
        # their pages load from other hosts
        self.app = FastAPI(lifespan=self._lifespan, docs_url=None, redoc_url=None, openapi_url=None)
        self.app.add_middleware(api_keys.ApiKeys, keys=keys)
        self.app.add_middleware(TrustedHosts, hosts=hosts)
        _answer_errors(self.app)
        self._add_routes({"id": name, "object": "model", "created": 0, "owned_by": "gendiff"} | dict(about))

    async def answer(self, request: Request, begin: Begun) -> Response:
        """The answer of a request, which is counted at its end."""
        start = time.monotonic()

        def count(status: int) -> None:
            self._metrics.seconds.labels(str(status)).observe(time.monotonic() - start)

        try:
            answer, stream = await begin(request)
            if stream:
                return _EventStream(answer, request, count)
            body = await answer.json_body(lambda: _gone(request))
        except ApiError as refused:
            count(refused.status)
            raise
        except ClientDisconnect:  # before the end of the body
            body = None
        count(LEFT if body is None else 200)
        return Response(status_code=LEFT) if body is None else JSONResponse(body, headers={"Cache-Control": "no-store"})

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        with self.scheduler:
            yield

    def _add_routes(self, model: Mapping[str, object]) -> None:
        @self.app.get("/v1/models")
        async def models() -> Response:
            return JSONResponse({"object": "list", "data": [model]})

        @self.app.get("/healthz")
        async def healthz() -> Response:
            healthy = self.scheduler.healthy
            return JSONResponse({"status": "ok" if healthy else "stopped"}, 200 if healthy else 503)

        @self.app.get("/metrics")
        async def prometheus() -> Response:
            return Response(self._metrics(), media_type=service_metrics.CONTENT_TYPE)


class _EventStream(StreamingResponse):
    """An answer in server-sent events. It is left and counted at its end, also where the client has left before the
    first of them.
    """

    def __init__(self, answer: AwaitedAnswer, request: Request, count: Callable[[int], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(answer.streamed(lambda: _gone(request)), media_type="text/event-stream", headers=headers)
        self._answer, self._count = answer, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.leave()
            self._count(LEFT if self._answer.left else 200)


async def read_body(request: Request, kind: str, most: int) -> bytes:
    """The body of a request, read no further than it may be long. Raises ApiError for another kind, and a longer
    one.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != kind:
        raise ApiError(f"Content-Type = {content_type[:60]!r} must be {kind}", status=415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise ApiError(f"the body has more than {most} bytes", status=413)
    return bytes(body)


def _answer_errors(app: FastAPI) -> None:
    """Every error is an object in OpenAI's form."""

    def answered(refused: ApiError) -> Response:
        return JSONResponse(refused.body, refused.status, headers=refused.headers)

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return answered(error)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        kind = NOT_FOUND if error.status_code == 404 else INVALID
        message = f"{request.method} {request.url.path[:60]}: {error.detail}"
        return answered(ApiError(message, status=error.status_code, kind=kind, headers=error.headers))

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        return answered(ApiError("the server has failed; its log says how", status=500, kind=FAILED))


async def _gone(request: Request) -> None:
    """Ends when the client has left. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
