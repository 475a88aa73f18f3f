"""The routes of the server. Each is a few lines: reading, drawing and answering are in files of their own."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from gendiff.commands.serve import api_keys, edit_requests, image_requests, service_metrics
from gendiff.commands.serve.access_log import LEFT
from gendiff.commands.serve.answering import PictureAnswer
from gendiff.commands.serve.api_errors import FAILED, INVALID, NOT_FOUND, ApiError
from gendiff.commands.serve.batching import Batcher
from gendiff.commands.serve.image_requests import ImageRequest, Limits
from gendiff.commands.serve.scheduler_thread import SchedulerThread
from gendiff.commands.serve.served_network import ServedNetwork
from gendiff.commands.serve.service_metrics import ServiceMetrics
from gendiff.commands.serve.trusted_hosts import TrustedHosts
from gendiff.runs import ranges

PAGE = Path(__file__).with_name("page.html")
LARGEST_BODY = 64 * 1024
"""Bytes of a request."""
LARGEST_FORM = 8 * 1024 * 1024
"""Bytes of a request with a picture."""
MOST_UPLOADS = 16
"""Such requests that are being read at once."""


def web_app(
    served: ServedNetwork, batcher: Batcher, limits: Limits, hosts: Collection[str] | None, keys: Sequence[str] = ()
) -> FastAPI:
    """The application. It draws while its lifespan lasts. hosts: as `TrustedHosts`. keys: as `ApiKeys`."""
    scheduler, metrics = SchedulerThread(batcher), ServiceMetrics(batcher)
    uploads, decoding = asyncio.Semaphore(MOST_UPLOADS), asyncio.Lock()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with scheduler:
            yield

    # their pages load from other hosts
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(api_keys.ApiKeys, keys=keys)
    app.add_middleware(TrustedHosts, hosts=hosts)
    _answer_errors(app)

    @app.post(image_requests.ROUTE)
    async def generations(request: Request) -> Response:
        return await answer(request, read_json)

    @app.post(edit_requests.ROUTE)
    async def edits(request: Request) -> Response:
        return await answer(request, read_form)

    async def read_json(request: Request) -> ImageRequest:
        # so that a browser asks first before a page of another site may send one
        return image_requests.read(await _body(request, "application/json", LARGEST_BODY), limits)

    async def read_form(request: Request) -> ImageRequest:
        _check_origin(request)
        if uploads.locked():
            raise ApiError(f"{MOST_UPLOADS} pictures are being sent", status=503, kind=FAILED, code="busy")
        async with uploads:
            body = await _body(request, "multipart/form-data", LARGEST_FORM)
            async with decoding:
                about = request.headers["content-type"], body, limits
                return await asyncio.to_thread(edit_requests.read, *about)

    async def answer(request: Request, read: Callable[[Request], Awaitable[ImageRequest]]) -> Response:
        begin = time.monotonic()

        def count(status: int) -> None:
            metrics.seconds.labels(str(status)).observe(time.monotonic() - begin)

        try:
            image_request = await read(request)
            words = served.read(image_request.prompt, image_request.negative)
            pictures = PictureAnswer(scheduler, limits, image_request, words, api_keys.client(request.scope))
            if image_request.stream:
                return _EventStream(pictures, request, count)
            body = await pictures.json_body(lambda: _gone(request))
        except ApiError as refused:
            count(refused.status)
            raise
        except ClientDisconnect:  # before the end of the body
            body = None
        count(LEFT if body is None else 200)
        return Response(status_code=LEFT) if body is None else JSONResponse(body, headers={"Cache-Control": "no-store"})

    @app.get("/v1/models")
    async def models() -> Response:
        ours = {"size": limits.size, "steps": limits.steps, "n": limits.pictures}
        ours |= {"guidance": image_requests.LARGEST_GUIDANCE, "seed": ranges.LARGEST_SEED}
        usual = {"steps": limits.usual_steps, "guidance": image_requests.GUIDANCE}
        named = {"id": limits.model, "object": "model", "created": 0, "owned_by": "gendiff"}
        return JSONResponse({"object": "list", "data": [named | {"about": served.about, "most": ours, "usual": usual}]})

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse(
            {"status": "ok"} if scheduler.healthy else {"status": "stopped"}, 200 if scheduler.healthy else 503
        )

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics(), media_type=service_metrics.CONTENT_TYPE)

    @app.get("/")
    async def page() -> Response:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    return app


class _EventStream(StreamingResponse):
    """An answer in server-sent events. It is left and counted at its end, also where the client has left before the
    first of them.
    """

    def __init__(self, answer: PictureAnswer, request: Request, count: Callable[[int], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(answer.streamed(lambda: _gone(request)), media_type="text/event-stream", headers=headers)
        self._answer, self._count = answer, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.leave()
            self._count(LEFT if self._answer.left else 200)


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


async def _body(request: Request, kind: str, most: int) -> bytes:
    """The body of a request, read no further than it may be long."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != kind:
        raise ApiError(f"Content-Type = {content_type[:60]!r} must be {kind}", status=415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise ApiError(f"the body has more than {most} bytes", status=413)
    return bytes(body)


def _check_origin(request: Request) -> None:
    """ApiError for a form from a page of another site, which a browser sends without asking first."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise ApiError(f"Origin = {origin[:60]!r} is another site than this server", status=403, code="origin")


async def _gone(request: Request) -> None:
    """Ends when the client has left. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
