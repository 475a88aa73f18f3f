"""Requests for images, in the form of OpenAI's API with fields of ours beside it. Other fields are refused by name.

No field names a file or an address: a picture to begin from comes in the body.
"""

import dataclasses
import secrets
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from gendiff.commands.serve.api_errors import NOT_FOUND, ApiError
from gendiff.runs import errors
from gendiff.runs.ranges import LARGEST_SEED

ROUTE = "/v1/images/generations"
"""Where requests for pictures go, as in OpenAI's API."""
OURS = ("negative_prompt", "steps", "guidance", "seed")
"""What OpenAI's API does not have."""
FIELDS = ("prompt", "n", "size", "response_format", "model", "stream", "partial_images", "quality", "user", *OURS)
LARGEST_GUIDANCE = 100.0
LONGEST = 4000
"""Characters of a prompt."""
SHOWN = 60
"""Characters of what a request says that an error repeats."""
GUIDANCE = 5.0
"""Unless a request says otherwise."""
PLAIN = ("", "auto", "standard")
"""Qualities that ask for nothing."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server draws. width, height: of its pictures. steps, pictures: most of one request. usual_steps: unless it
    says otherwise.
    """

    model: str
    width: int
    height: int
    steps: int
    usual_steps: int
    pictures: int = 10

    @property
    def size(self) -> str:
        """As a request names it."""
        return f"{self.width}x{self.height}"


@dataclasses.dataclass(frozen=True)
class ImageRequest:
    """Images 0 … n - 1 of a seed.

    previews: how many of each image are sent before it is finished. stream: whether the answer is a stream of events.
    picture: (h, w, 3) in [-1, 1] to begin from. first: how many of the steps are then left out. notes: for the answer.
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
    notes: tuple[str, ...] = ()

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


def read(
    body: bytes, limits: Limits, fresh_seed: Callable[[], int] = lambda: secrets.randbelow(LARGEST_SEED + 1)
) -> ImageRequest:
    """The request in the body of a POST. fresh_seed: of requests that have none; the answer tells it.

    Raises ApiError with the field, its value, what is allowed and what to do.
    """
    return read_fields(_fields(body), FIELDS, limits, fresh_seed)


def read_fields(
    fields: Mapping[str, object], known: Sequence[str], limits: Limits, fresh_seed: Callable[[], int]
) -> ImageRequest:
    """The same of fields. known: those that such a request may have."""
    if unknown := [name[:SHOWN] for name in fields if name not in known]:
        raise ApiError(
            f"{unknown[0]!r} is no field of this request; {errors.hint(unknown[0], known)}", field=unknown[0]
        )
    fields = {name: value for name, value in fields.items() if value is not None}
    _check_names(fields, limits)
    stream = fields.get("stream", False)
    if not isinstance(stream, bool):
        raise ApiError(f"stream = {_shown(stream)} must be true or false", field="stream")
    steps = _integer(fields, "steps", 1, limits.steps, limits.usual_steps)
    previews = _integer(fields, "partial_images", 0, limits.steps, 0)
    count = _integer(fields, "n", 1, limits.pictures, 1)
    if previews and not stream:
        raise ApiError(
            "partial_images are told while a picture is drawn: add stream = true, or leave them out",
            field="partial_images",
        )
    _text(fields, "user")
    quality = _text(fields, "quality")
    return ImageRequest(
        prompt=_text(fields, "prompt", needed=True),
        negative=_text(fields, "negative_prompt"),
        n=count,
        steps=steps,
        guidance=number(fields, "guidance", LARGEST_GUIDANCE, GUIDANCE),
        seed=_integer(fields, "seed", 0, LARGEST_SEED, None) if "seed" in fields else fresh_seed(),
        stream=stream,
        previews=min(previews, steps - 1),
        notes=() if quality in PLAIN else (f"quality {_shown(quality)} changes nothing here: more steps do",),
    )


def _fields(body: bytes) -> Mapping[str, object]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ApiError(f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(fields, dict):
        raise ApiError(f'the body must be a JSON object, as in {{"prompt": "a red circle"}}, got {_shown(fields)}')
    return fields


def _check_names(fields: Mapping[str, object], limits: Limits) -> None:
    model = fields.get("model", limits.model)
    if model != limits.model:
        message = f"model = {_shown(model)}: this server has {limits.model!r}; leave the field out, or give that"
        raise ApiError(message, status=404, field="model", kind=NOT_FOUND, code="model_not_found")
    if fields.get("size", "auto") not in ("auto", limits.size):
        raise ApiError(
            f"size = {_shown(fields['size'])}: the pictures of this network are {limits.size}; give that, or auto",
            field="size",
        )
    if fields.get("response_format", "b64_json") != "b64_json":
        message = (
            f"response_format = {_shown(fields['response_format'])}: this server keeps no files to link to; give "
            "b64_json"
        )
        raise ApiError(message, field="response_format")


def _integer(fields: Mapping[str, object], name: str, low: int, high: int, usual: int | None) -> int:
    value = fields.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ApiError(f"{name} = {_shown(value)} must be an integer from {low} to {high}", field=name)
    return value


def number(fields: Mapping[str, object], name: str, high: float, usual: float) -> float:
    """A field that is a number from 0 to `high`. Raises ApiError for any other."""
    value = fields.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        raise ApiError(f"{name} = {_shown(value)} must be a number from 0 to {high:g}", field=name)
    return float(value)


def _text(fields: Mapping[str, object], name: str, needed: bool = False) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise ApiError(f"{name} = {_shown(value)} must be a text", field=name)
    if needed and not value.strip():
        raise ApiError(
            f'{name} is empty: say what the pictures show, as in "a small red circle at the top left"', field=name
        )
    if len(value) > LONGEST:
        raise ApiError(f"{name} has {len(value)} characters: at most {LONGEST} are read", field=name)
    return value


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**SHOWN else "a number of many digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
