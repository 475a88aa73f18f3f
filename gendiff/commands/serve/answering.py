"""From events of a batcher to the answer of a request: one JSON object, or server-sent events while the picture is
drawn.

The names in both are those of OpenAI's API. What is ours stands beside them: seed, steps, guidance, notes, and the
index of a picture.
"""

import asyncio
import base64
import collections
import contextlib
import io
import time
from collections.abc import AsyncIterator, Mapping

import msgspec
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.awaited_answer import AwaitedAnswer, Gone
from gendiff.commands.serve.batching import Finished, Preview
from gendiff.commands.serve.image_requests import ImageRequest, Limits
from gendiff.commands.serve.scheduler_thread import SchedulerThread
from gendiff.commands.serve.served_network import ReadTexts
from gendiff.provenance import metadata
from gendiff.runs.reporting import figures

GENERATION, EDIT, PARTIAL, COMPLETED = "image_generation", "image_edit", "partial_image", "completed"
ERROR = "error"
"""Names of server-sent events, the first ones as in image_edit.completed."""


class PictureAnswer(AwaitedAnswer):
    """One request for pictures on its way."""

    last = Finished

    def __init__(
        self, scheduler: SchedulerThread, limits: Limits, request: ImageRequest, words: ReadTexts, client: str
    ) -> None:
        super().__init__(scheduler, request, words, client)
        self.request, self._limits, self._words = request, limits, words

    async def json_body(self, gone: Gone) -> dict[str, object] | None:
        """The body of the answer once all pictures are there; None where the client has left."""
        pictures: dict[int, str] = {}
        async with contextlib.aclosing(self.events(gone)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    pictures[event.index] = await self._encoded(event)
        if len(pictures) < self.request.n:
            return None
        return self._about() | {"data": [{"b64_json": pictures[index], "index": index} for index in sorted(pictures)]}

    async def streamed(self, gone: Gone) -> AsyncIterator[bytes]:
        """Server-sent events, of which one has each picture at its end, or the last says why there is none."""
        kind = EDIT if self.request.edits else GENERATION
        sent_previews = collections.Counter[int]()
        try:
            async with contextlib.aclosing(self.events(gone)) as events:
                async for event in events:
                    body = self._about() | {"b64_json": await self._encoded(event), "index": event.index}
                    if isinstance(event, Finished):
                        yield sent(f"{kind}.{COMPLETED}", body)
                    else:
                        number = {"partial_image_index": sent_previews[event.index], "step": event.step}
                        yield sent(f"{kind}.{PARTIAL}", body | number)
                        sent_previews[event.index] += 1
        except ApiError as refused:
            yield sent(ERROR, refused.body)

    async def _encoded(self, event: Preview | Finished) -> str:
        """The picture of an event in base64, made beside the event loop."""
        request = self.request
        settings = {
            "prompt": request.prompt,
            "negative": request.negative,
            "index": event.index,
            "model": self._limits.model,
        }
        settings |= {"seed": request.seed, "steps": request.steps, "guidance": request.guidance}
        settings |= {"run": request.run} if request.edits else {}
        return base64.b64encode(await asyncio.to_thread(png, event.picture, settings)).decode()

    def _about(self) -> dict[str, object]:
        request = self.request
        return {
            "created": int(time.time()),
            "model": self._limits.model,
            "size": self._limits.size,
            "output_format": "png",
            "seed": request.seed,
            "steps": request.steps,
            "run": request.run,
            "guidance": request.guidance,
            "notes": [*self._words.notes, *request.notes],
        }


def png(picture: np.ndarray, settings: Mapping[str, object]) -> bytes:
    """A picture (h, w, 3) in about [-1, 1] as a file that says its settings."""
    information, file = PngInfo(), io.BytesIO()
    for name, text in metadata.entries(settings).items():
        information.add_itxt(name, text)
    Image.fromarray(figures.to_pixels(picture)).save(file, format="PNG", pnginfo=information)
    return file.getvalue()


def sent(name: str, body: Mapping[str, object]) -> bytes:
    """One server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode({"type": name, **body}) + b"\n\n"
