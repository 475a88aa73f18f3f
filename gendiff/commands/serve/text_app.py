"""The routes of the server of a language model. Each is a few lines: reading, writing and answering are in files of
their own.
"""

import asyncio
import dataclasses
import sys
from collections.abc import Collection, Sequence

import numpy as np
from fastapi import FastAPI, Request, Response

from gendiff.commands.serve import api_keys, http_service, text_requests
from gendiff.commands.serve.api_errors import FAILED, ApiError
from gendiff.commands.serve.http_service import HttpService
from gendiff.commands.serve.text_answers import TextAnswer
from gendiff.commands.serve.text_batching import TextBatcher
from gendiff.commands.serve.text_requests import CHAT, COMPLETIONS, TextLimits, TextRequest
from gendiff.core.errors import ConfigError
from gendiff.pipelines import Chat
from gendiff.runs import ranges

SMALLEST_BODY, LARGEST_BODY = 64 * 1024, 1024 * 1024
"""Bytes that a request may have at least and at most, whatever the context."""
PER_TOKEN = 32
"""Bytes of a request for each token of the context."""


def text_app(
    chat: Chat, batcher: TextBatcher, limits: TextLimits, hosts: Collection[str] | None, keys: Sequence[str] = ()
) -> FastAPI:
    """The application. It writes while its lifespan lasts. hosts: as `TrustedHosts`. keys: as `ApiKeys`."""
    reading = asyncio.Lock()  # a template and a tokenizer take a processor
    largest = min(LARGEST_BODY, max(SMALLEST_BODY, PER_TOKEN * limits.context))
    ours = {"context": limits.context, "max_tokens": limits.tokens, "n": limits.replies, "seed": ranges.LARGEST_SEED}
    service = HttpService(batcher, limits.model, {"most": ours}, hosts, keys)

    @service.app.post(CHAT)
    async def chat_completions(request: Request) -> Response:
        return await service.answer(request, begin)

    @service.app.post(COMPLETIONS)
    async def completions(request: Request) -> Response:
        return await service.answer(request, begin)

    async def begin(request: Request) -> tuple[TextAnswer, bool]:
        # so that a browser asks first before a page of another site may send one
        body = await http_service.read_body(request, "application/json", largest)
        async with reading:
            text_request, prompts = await asyncio.to_thread(_read, request.url.path, body, chat, limits)
        about = api_keys.client(request.scope), limits.model, chat.tokenizer
        return TextAnswer(service.scheduler, text_request, prompts, *about), text_request.stream

    return service.app


def _read(route: str, body: bytes, chat: Chat, limits: TextLimits) -> tuple[TextRequest, list[np.ndarray]]:
    """The request with the ids of its prompts. Raises ApiError for prompts that do not fit."""
    request = text_requests.read(route, body, limits)
    field = "messages" if route == CHAT else "prompt"
    try:
        if route == CHAT:
            prompts = [chat.prompt(request.messages, sys.maxsize)]
        else:
            prompts = [chat.tokenizer.prompt(text, sys.maxsize) for text in request.prompts]
    except ConfigError as error:  # it is the model's, and no request can mend it
        raise ApiError(str(error), status=500, kind=FAILED, code="template_failed") from error
    except (ValueError, TypeError) as error:
        raise ApiError(str(error), field=field) from error
    longest = max(map(len, prompts))
    room = limits.context - longest
    if room < max(1, request.longest or 1):
        raise ApiError(
            f"the prompt has {longest} tokens and the reply may have {request.longest or 1}: together at most "
            f"{limits.context} are read and written (context)",
            field=field,
            code="context_length_exceeded",
        )
    return dataclasses.replace(request, max_tokens=request.longest or min(limits.tokens, room)), prompts
