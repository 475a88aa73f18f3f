"""Requests that begin from a picture, or read several beside the prompt: forms, as clients of OpenAI's API send them,
with the files of the pictures.
"""

import dataclasses
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from gendiff.commands.serve import image_requests, multipart, request_fields, start_pictures
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.image_requests import FIELDS, ImageRequest, Limits
from gendiff.diffusion.editing.image_to_image import SLACK

ROUTE = "/v1/images/edits"
"""Where they go, as in OpenAI's API."""
NUMBERS = ("n", "stream", "partial_images", "steps", "guidance", "seed", "strength")
"""Fields that are no texts, though a form sends them so."""
STRENGTH = 0.7
"""Share of the steps that is run, unless a request says otherwise. A network that can read pictures beside the prompt
does that where a request has no strength.
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
        fields[name] = _value(name, content)
    fields = request_fields.known(fields, (*FIELDS, "image", "strength"))
    request = image_requests.read_fields(fields, limits)
    reads = limits.references > 0 and "strength" not in fields
    _check_count(files, limits, reads)
    if reads:
        pictures, notes = _pictures(files, limits)
        return dataclasses.replace(request, references=pictures, notes=(*request.notes, *notes))
    strength = request_fields.number(fields, "strength", 1.0, STRENGTH)
    first = request.steps - min(math.floor(strength * request.steps + 0.5 + SLACK), request.steps)
    if first == request.steps:
        raise ApiError(f"strength = {strength:g} runs none of {request.steps} steps: give more", field="strength")
    (picture,), notes = _pictures(files, limits)
    return dataclasses.replace(request, first=first, picture=picture, notes=(*request.notes, *notes))


def _check_count(files: Sequence[bytes], limits: Limits, reads: bool) -> None:
    """ApiError for no picture, and for more than the network takes."""
    if not files or not all(files):
        raise ApiError("image is missing: send the file of a picture to begin from", field="image")
    most = limits.references if reads else 1
    if len(files) > most:
        does = f"reads at most {most} beside the prompt" if reads else "begins from one"
        way = "; leave out strength to have them read beside the prompt" if not reads and limits.references > 1 else ""
        raise ApiError(f"image names {len(files)} pictures, and this request {does}{way}", field="image")


def _pictures(files: Sequence[bytes], limits: Limits) -> tuple[tuple[np.ndarray, ...], list[str]]:
    """(pictures of the size that is drawn, notes of what was changed)."""
    names = ("image",) if len(files) == 1 else tuple(f"image {number}" for number in range(1, len(files) + 1))
    read = [
        start_pictures.read(file, limits.width, limits.height, name) for file, name in zip(files, names, strict=True)
    ]
    return tuple(picture for picture, _ in read), [note for _, notes in read for note in notes]


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
