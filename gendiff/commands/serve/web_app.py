"""The routes of the server of pictures. Each is a few lines: reading, drawing and answering are in files of their
own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from gendiff.commands.serve import api_keys, edit_requests, http_service, image_requests
from gendiff.commands.serve.answering import PictureAnswer
from gendiff.commands.serve.api_errors import FAILED, ApiError
from gendiff.commands.serve.batching import Batcher
from gendiff.commands.serve.http_service import HttpService
from gendiff.commands.serve.image_requests import ImageRequest, Limits
from gendiff.commands.serve.served_network import ServedNetwork
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
    uploads, decoding = asyncio.Semaphore(MOST_UPLOADS), asyncio.Lock()
    ours = {"size": limits.size, "steps": limits.steps, "n": limits.pictures}
    ours |= {"guidance": image_requests.LARGEST_GUIDANCE, "seed": ranges.LARGEST_SEED}
    usual = {"steps": limits.usual_steps, "guidance": image_requests.GUIDANCE}
    about: dict[str, object] = {"about": served.about, "most": ours, "usual": usual}
    about |= {"references": limits.references, "masks": limits.masks}
    service = HttpService(batcher, limits.model, about, hosts, keys)

    @service.app.post(image_requests.ROUTE)
    async def generations(request: Request) -> Response:
        return await answer(request, read_json)

    @service.app.post(edit_requests.ROUTE)
    async def edits(request: Request) -> Response:
        return await answer(request, read_form)

    async def read_json(request: Request) -> ImageRequest:
        # so that a browser asks first before a page of another site may send one
        return image_requests.read(await http_service.read_body(request, "application/json", LARGEST_BODY), limits)

    async def read_form(request: Request) -> ImageRequest:
        _check_origin(request)
        if uploads.locked():
            raise ApiError(f"{MOST_UPLOADS} pictures are being sent", status=503, kind=FAILED, code="busy")
        async with uploads:
            body = await http_service.read_body(request, "multipart/form-data", LARGEST_FORM)
            async with decoding:
                about = request.headers["content-type"], body, limits
                return await asyncio.to_thread(edit_requests.read, *about)

    async def answer(request: Request, read: Callable[[Request], Awaitable[ImageRequest]]) -> Response:
        async def begin(request: Request) -> tuple[PictureAnswer, bool]:
            image_request = await read(request)
            words = served.read(image_request.prompt, image_request.negative)
            who = api_keys.client(request.scope)
            return PictureAnswer(service.scheduler, limits, image_request, words, who), image_request.stream

        return await service.answer(request, begin)

    @service.app.get("/")
    async def page() -> Response:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    return service.app


def _check_origin(request: Request) -> None:
    """ApiError for a form from a page of another site, which a browser sends without asking first."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        raise ApiError(f"Origin = {origin[:60]!r} is another site than this server", status=403, code="origin")
