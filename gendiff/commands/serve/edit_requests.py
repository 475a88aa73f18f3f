"""Requests that begin from a picture, draw a part of it anew, or read several beside the prompt: forms, as clients of
OpenAI's API send them, with the files of the pictures.
"""

import dataclasses
import math
from collections.abc import Sequence

import msgspec

from gendiff.commands.serve import image_requests, multipart, request_fields, start_pictures
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.image_requests import FIELDS, ImageRequest, Limits
from gendiff.commands.serve.start_pictures import StartPicture
from gendiff.diffusion.editing.image_to_image import SLACK

ROUTE = "/v1/images/edits"
"""Where they go, as in OpenAI's API."""
NUMBERS = ("n", "stream", "partial_images", "steps", "guidance", "seed", "strength")
"""Fields that are no texts, though a form sends them so."""
STRENGTH = 0.7
"""Share of the steps that is run, unless a request says otherwise or has a mask: then all are run. A network that can
read pictures beside the prompt does that where a request has no strength.
"""


def read(content_type: str, body: bytes, limits: Limits) -> ImageRequest:
    """The request in the body of a POST. Arguments and errors are those of `image_requests.read`."""
    fields: dict[str, object] = {}
    files: list[bytes] = []
    for name, content in multipart.read(content_type, body):
        name = name.removesuffix("[]")
        if name == "image":
            files.append(content)
            continue
        if name in fields:
            name = request_fields.printable(name)
            raise ApiError(f"{name} stands twice in the form: send it once", field=name)
        fields[name] = content if name == "mask" else _value(name, content)
    fields = request_fields.known(fields, (*FIELDS, "image", "mask", "strength"))
    request = image_requests.read_fields(fields, limits)
    reads, mask = limits.references > 0 and "strength" not in fields, fields.get("mask")
    _check_count(files, limits, reads)
    if mask is not None and not limits.masks:
        raise ApiError(
            "mask: the sampler of this server has noise of its own, so it cannot draw a part of a picture: start the "
            "server with --sampler ddim",
            field="mask",
        )
    strength = request_fields.number(fields, "strength", 1.0, STRENGTH if mask is None and not reads else 1.0)
    first = request.steps - min(math.floor(strength * request.steps + 0.5 + SLACK), request.steps)
    if first == request.steps:
        raise ApiError(f"strength = {strength:g} runs none of {request.steps} steps: give more", field="strength")
    pictures = _pictures(files, limits)
    request = dataclasses.replace(request, notes=(*request.notes, *(note for each in pictures for note in each.notes)))
    if isinstance(mask, bytes):
        redrawn = start_pictures.read_mask(mask, pictures[0].file_size, limits.width, limits.height)
        request = dataclasses.replace(request, mask=redrawn)
    pixels = tuple(each.pixels for each in pictures)
    if reads:
        return dataclasses.replace(request, references=pixels)
    return dataclasses.replace(request, first=first, picture=pixels[0])


def _check_count(files: Sequence[bytes], limits: Limits, reads: bool) -> None:
    """ApiError for no picture, and for more than the network takes."""
    if not files or not all(files):
        raise ApiError("image is missing: send the file of a picture to begin from", field="image")
    most = limits.references if reads else 1
    if len(files) > most:
        does = f"reads at most {most} beside the prompt" if reads else "begins from one"
        way = "; leave out strength to have them read beside the prompt" if not reads and limits.references > 1 else ""
        raise ApiError(f"image names {len(files)} pictures, and this request {does}{way}", field="image")


def _pictures(files: Sequence[bytes], limits: Limits) -> list[StartPicture]:
    names = ("image",) if len(files) == 1 else tuple(f"image {number}" for number in range(1, len(files) + 1))
    return [
        start_pictures.read(file, limits.width, limits.height, name) for file, name in zip(files, names, strict=True)
    ]


def _value(name: str, content: bytes) -> object:
    """Of a field of a form."""
    try:
        text = content.decode()
        return msgspec.json.decode(text) if name in NUMBERS else text
    except UnicodeDecodeError as error:
        name = request_fields.printable(name)
        raise ApiError(f"{name} is no text in UTF-8", field=name) from error
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text
