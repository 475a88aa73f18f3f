"""Requests that begin from a picture: forms, as clients of OpenAI's API send them, with the file of the picture."""

import dataclasses
import math

import msgspec

from gendiff.commands.serve import image_requests, multipart, request_fields, start_pictures
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.image_requests import FIELDS, ImageRequest, Limits
from gendiff.diffusion.editing.image_to_image import SLACK

ROUTE = "/v1/images/edits"
"""Where they go, as in OpenAI's API."""
NUMBERS = ("n", "stream", "partial_images", "steps", "guidance", "seed", "strength")
"""Fields that are no texts, though a form sends them so."""
STRENGTH = 0.7
"""Share of the steps that is run, unless a request says otherwise. A network that can read a picture beside the prompt
does that where a request has no strength.
"""


def read(content_type: str, body: bytes, limits: Limits) -> ImageRequest:
    """The request in the body of a POST. Arguments and errors are those of `image_requests.read`."""
    fields: dict[str, object] = {}
    for name, content in multipart.read(content_type, body):
        name = name.removesuffix("[]")
        if name in fields:
            name = request_fields.printable(name)
            raise ApiError(f"{name} stands twice in the form: send it once", field=name)
        fields[name] = content if name == "image" else _value(name, content)
    fields = request_fields.known(fields, (*FIELDS, "image", "strength"))
    request = image_requests.read_fields(fields, limits)
    file = fields.get("image")
    if not isinstance(file, bytes) or not file:
        raise ApiError("image is missing: send the file of a picture to begin from", field="image")
    reference = limits.references and "strength" not in fields
    strength = request_fields.number(fields, "strength", 1.0, 1.0 if reference else STRENGTH)
    first = request.steps - min(math.floor(strength * request.steps + 0.5 + SLACK), request.steps)
    if first == request.steps:
        raise ApiError(f"strength = {strength:g} runs none of {request.steps} steps: give more", field="strength")
    picture, notes = start_pictures.read(file, limits.width, limits.height)
    notes = [*request.notes, *notes]
    return dataclasses.replace(request, first=first, picture=picture, reference=reference, notes=tuple(notes))


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
