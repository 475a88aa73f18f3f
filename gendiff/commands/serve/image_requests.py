"""Requests for images, in the form of OpenAI's API with fields of ours beside it. Other fields are refused by name.

No field names a file or an address: a picture to begin from comes in the body.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from gendiff.commands.serve import request_fields
from gendiff.commands.serve.api_errors import ApiError

ROUTE = "/v1/images/generations"
"""Where requests for pictures go, as in OpenAI's API."""
OURS = ("negative_prompt", "steps", "guidance", "seed")
"""What OpenAI's API does not have."""
FIELDS = ("prompt", "n", "size", "response_format", "model", "stream", "partial_images", "quality", "user", *OURS)
LARGEST_GUIDANCE = 100.0
LONGEST = 4000
"""Characters of a prompt."""
EMPTY = 'say what the pictures show, as in "a small red circle at the top left"'
GUIDANCE = 5.0
"""Unless a request says otherwise."""
PLAIN = ("", "auto", "standard")
"""Qualities that ask for nothing."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server draws. width, height: of its pictures. steps, pictures: most of one request. usual_steps: unless it
    says otherwise. references: how many pictures the network reads beside the prompt. masks: whether a part of a
    picture can be drawn anew.
    """

    model: str
    width: int
    height: int
    steps: int
    usual_steps: int
    pictures: int = 10
    references: int = 0
    masks: bool = True

    @property
    def size(self) -> str:
        """As a request names it."""
        return f"{self.width}x{self.height}"


@dataclasses.dataclass(frozen=True)
class ImageRequest:
    """Images 0 … n - 1 of a seed.

    previews: how many of each image are sent before it is finished. stream: whether the answer is a stream of events.
    picture: (h, w, 3) in [-1, 1] to begin from. first: how many of the steps are then left out. references: pictures
        like it that are read beside the prompt instead. mask: (h, w, 1) of the first of them, 1 where it is drawn anew
        and 0 where it stays; None: all is drawn anew. notes: for the answer.
    """

    prompt: str
    negative: str = ""
    n: int = 1
    steps: int = 30
    guidance: float = GUIDANCE
    seed: int = 0
    stream: bool = False
    previews: int = 0
    first: int = 0
    picture: np.ndarray | None = dataclasses.field(default=None, compare=False)
    references: tuple[np.ndarray, ...] = dataclasses.field(default=(), compare=False)
    mask: np.ndarray | None = dataclasses.field(default=None, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[np.ndarray, ...]:
        """Those that it came with."""
        return self.references if self.picture is None else (self.picture,)

    @property
    def edits(self) -> bool:
        """Whether it came with pictures."""
        return bool(self.pictures)

    @property
    def run(self) -> int:
        """How many steps are run."""
        return self.steps - self.first

    @property
    def shown_after(self) -> frozenset[int]:
        """After which of the steps 1 … run - 1 a preview is shown: evenly, and the last step, which is the picture,
        not among them.
        """
        return frozenset(round(self.run * k / (self.previews + 1)) for k in range(1, self.previews + 1)) - {
            0,
            self.run,
        }


def read(body: bytes, limits: Limits) -> ImageRequest:
    """The request in the body of a POST.

    Raises ApiError with the field, its value, what is allowed and what to do.
    """
    fields = request_fields.decoded(body, '{"prompt": "a red circle"}')
    return read_fields(request_fields.known(fields, FIELDS), limits)


def read_fields(fields: Mapping[str, object], limits: Limits) -> ImageRequest:
    """The same of fields that `request_fields.known` has passed."""
    _check_names(fields, limits)
    stream = request_fields.flag(fields, "stream")
    steps = request_fields.integer(fields, "steps", 1, limits.steps, limits.usual_steps)
    previews = request_fields.integer(fields, "partial_images", 0, limits.steps, 0)
    count = request_fields.integer(fields, "n", 1, limits.pictures, 1)
    if previews and not stream:
        raise ApiError(
            "partial_images are told while a picture is drawn: add stream = true, or leave them out",
            field="partial_images",
        )
    request_fields.text(fields, "user", LONGEST)
    quality = request_fields.text(fields, "quality", LONGEST)
    return ImageRequest(
        prompt=request_fields.text(fields, "prompt", LONGEST, EMPTY),
        negative=request_fields.text(fields, "negative_prompt", LONGEST),
        n=count,
        steps=steps,
        guidance=request_fields.number(fields, "guidance", LARGEST_GUIDANCE, GUIDANCE),
        seed=request_fields.seed(fields),
        stream=stream,
        previews=min(previews, steps - 1),
        notes=()
        if quality in PLAIN
        else (f"quality {request_fields.excerpt(quality)} changes nothing here: more steps do",),
    )


def _check_names(fields: Mapping[str, object], limits: Limits) -> None:
    request_fields.check_model(fields, limits.model)
    size, form = fields.get("size", "auto"), fields.get("response_format", "b64_json")
    if size not in ("auto", limits.size):
        raise ApiError(
            f"size = {request_fields.excerpt(size)}: the pictures of this network are {limits.size}; give that, or "
            "auto",
            field="size",
        )
    if form != "b64_json":
        message = (
            f"response_format = {request_fields.excerpt(form)}: this server keeps no files to link to; give b64_json"
        )
        raise ApiError(message, field="response_format")
