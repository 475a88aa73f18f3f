"""What a request says is read whole, and each mistake is one error that names its field."""

import dataclasses
import json
import secrets

import msgspec
import pytest

from gendiff.commands.serve import image_requests
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.image_requests import ImageRequest, Limits
from tests.tables import table

LIMITS = Limits("shapes", 32, 32, steps=100, usual_steps=30)
PROMPT = "a small red circle at the top left"


def read(fields):
    return image_requests.read(json.dumps(fields).encode(), LIMITS)


def test_a_prompt_alone_is_enough_and_its_seed_is_drawn_anew(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(secrets, "randbelow", lambda count: 17)
        assert read({"prompt": PROMPT}) == ImageRequest(PROMPT, seed=17)
    assert len({read({"prompt": PROMPT}).seed for _ in range(4)}) > 1


def test_without_steps_a_request_takes_those_that_are_usual_for_the_network():
    assert (
        image_requests.read(json.dumps({"prompt": PROMPT}).encode(), dataclasses.replace(LIMITS, usual_steps=8)).steps
        == 8
    )


def test_every_field_counts_and_null_is_the_same_as_leaving_it_out():
    fields = {
        "prompt": PROMPT,
        "n": 1,
        "size": "32x32",
        "response_format": "b64_json",
        "model": "shapes",
        "stream": True,
    }
    fields |= {"quality": "auto", "user": "someone"}
    fields |= {"partial_images": 3, "negative_prompt": "a cat", "steps": 7, "guidance": 2, "seed": 2**32 - 1}
    assert read(fields) == ImageRequest(PROMPT, "a cat", 1, 7, 2.0, 2**32 - 1, True, 3)
    ends = {"n": (1, 10), "steps": (1, 100), "guidance": (0, 100), "seed": (0, 2**32 - 1)}
    requests = [read({"prompt": "a" * 4000} | {name: values[end] for name, values in ends.items()}) for end in (0, 1)]
    assert [(request.n, request.steps, request.guidance, request.seed) for request in requests] == list(
        zip(*ends.values(), strict=True)
    )
    assert read(dict.fromkeys(image_requests.FIELDS) | {"prompt": PROMPT, "seed": 0}) == ImageRequest(PROMPT)


@table(("steps", "previews", "expected"), [(10, 4, {2, 4, 6, 8}), (4, 9, {1, 2, 3}), (1, 3, set()), (30, 0, set())])
def test_previews_are_spread_over_the_steps_and_the_last_one_is_the_picture(steps, previews, expected):
    request = read({"prompt": PROMPT, "steps": steps, "stream": True, "partial_images": previews})
    assert request.shown_after == expected


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
@table(
    ("change", "field", "words"),
    [
        ({"prompt": None}, "prompt", "is empty"),
        ({"prompt": " \n"}, "prompt", "is empty"),
        ({"prompt": ["a cat"]}, "prompt", "must be a text"),
        ({"prompt": "a" * 4001}, "prompt", "4001 characters"),
        ({"negative_prompt": 3}, "negative_prompt", "must be a text"),
        ({"n": 0}, "n", "n = 0 must be an integer from 1 to 10"),
        ({"n": 11}, "n", "from 1 to 10"),
        ({"n": True}, "n", "True must be an integer"),
        ({"user": 3}, "user", "must be a text"),
        ({"quality": True}, "quality", "must be a text"),
        ({"steps": 101}, "steps", "from 1 to 100"),
        ({"steps": 3.5}, "steps", "must be an integer"),
        ({"steps": "30"}, "steps", "must be an integer"),
        ({"guidance": -0.1}, "guidance", "from 0 to 100"),
        ({"guidance": "high"}, "guidance", "must be a number"),
        ({"guidance": 1e300}, "guidance", "must be a number"),
        ({"seed": 2**32}, "seed", "from 0 to 4294967295"),
        ({"seed": -1}, "seed", "from 0"),
        ({"size": "64x64"}, "size", "are 32x32"),
        ({"size": ["32x32"]}, "size", "are 32x32"),
        ({"response_format": "url"}, "response_format", "keeps no files"),
        ({"model": "dall-e-3"}, "model", "this server has 'shapes'"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"partial_images": 2}, "partial_images", "add stream = true"),
        ({"promt": "a cat"}, "promt", "did you mean 'prompt'"),
        ({"image": "file:///etc/passwd"}, "image", "is no field of this request"),
        ({"image_url": "http://169.254.169.254/"}, "image_url", "is no field of this request"),
    ],
)
def test_a_mistake_is_one_error_that_names_its_field(change, field, words):
    with pytest.raises(ApiError, match=words) as caught:
        read({"prompt": PROMPT} | change)
    assert caught.value.field == field == caught.value.body["error"]["param"]
    assert caught.value.status == (404 if field == "model" else 400) and len(str(caught.value)) < 300


BODIES = (
    *(b"", b"{", b"[]", b"3", b'{"prompt": "\xff"}', b'{"prompt": NaN}'),
    *(b"[" * 40_000, b'{"seed": ' + b"9" * 5000 + b"}", b"\x00" * 40),
)


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
@table("body", BODIES)
def test_a_body_that_is_no_object_of_json_is_refused(body):
    with pytest.raises(ApiError) as caught:
        image_requests.read(body, LIMITS)
    assert caught.value.status == 400 and len(msgspec.json.encode(caught.value.body)) < 600
