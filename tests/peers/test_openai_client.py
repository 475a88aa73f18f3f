"""OpenAI's own client draws with the server: pictures, streams, edits, and errors of its own types."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

openai = pytest.importorskip("openai", reason="needs openai: make test-peers")

from gendiff.commands.serve import web_app  # noqa: E402
from gendiff.commands.serve.batching import Batcher  # noqa: E402
from gendiff.commands.serve.image_requests import ImageRequest, Limits  # noqa: E402
from gendiff.runs.reporting import figures  # noqa: E402
from tests.commands.serve.fake_program import SIDE, FakeProgram, expected, served  # noqa: E402
from tests.commands.serve.serving import serving  # noqa: E402

pytestmark = pytest.mark.peers
KEY = "a-key-that-nobody-guesses"
OURS = {"seed": 3, "steps": 4}


@pytest.fixture(scope="module")
def client():
    limits = Limits("fake", SIDE, SIDE, steps=100, usual_steps=30, references=2)
    app = web_app.web_app(served(), Batcher(FakeProgram(2), 8), limits, None, (KEY,))
    with serving(app) as (port, _):
        with openai.OpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client:
            yield client


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def start():
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(stream, format="PNG")
    return ("start.png", stream.getvalue(), "image/png")


def test_pictures_come_as_its_client_reads_them(client):
    assert [model.id for model in client.models.list()] == ["fake"]
    about = {"model": "fake", "quality": "high", "user": "someone", "size": "auto", "extra_body": OURS}
    answer = client.images.generate(prompt="a circle", n=2, **about)
    for index, each in enumerate(answer.data):
        reference = figures.to_pixels(expected(ImageRequest("a circle", **OURS), index))
        np.testing.assert_array_equal(pixels(each.b64_json), reference)


@pytest.mark.parametrize("edit", [False, True])
def test_a_stream_has_events_of_its_types(client, edit):
    fields = {"prompt": "a circle", "model": "fake", "stream": True, "partial_images": 1, "extra_body": OURS}
    stream = client.images.edit(image=start(), **fields) if edit else client.images.generate(**fields)
    first, last = stream
    kind = "image_edit" if edit else "image_generation"
    assert (first.type, last.type) == (f"{kind}.partial_image", f"{kind}.completed")
    assert first.partial_image_index == 0 and pixels(last.b64_json).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("several", [False, True])
def test_a_picture_to_begin_from_is_read_as_it_sends_it(client, several):
    about = {"prompt": "a circle", "n": 2, "extra_body": OURS | {"strength": 0.5}}
    answer = client.images.edit(image=[start()] if several else start(), **about)
    assert len(answer.data) == 2 and answer.run == 2


def test_a_mask_is_read_as_it_sends_it(client):
    stream = io.BytesIO()
    Image.new("RGBA", (SIDE, SIDE)).save(stream, format="PNG")
    mask = ("mask.png", stream.getvalue(), "image/png")
    answer = client.images.edit(image=start(), mask=mask, prompt="a circle", extra_body=OURS | {"strength": 0.5})
    assert answer.run == 2
    with pytest.raises(openai.BadRequestError, match="no alpha channel") as caught:
        client.images.edit(image=start(), mask=start(), prompt="a circle", extra_body=OURS)
    assert caught.value.param == "mask"


def test_several_pictures_are_read_beside_the_prompt_and_more_are_refused(client):
    assert len(client.images.edit(image=[start()] * 2, prompt="a circle", extra_body=OURS).data) == 1
    with pytest.raises(openai.BadRequestError, match="3 pictures") as caught:
        client.images.edit(image=[start()] * 3, prompt="a circle", extra_body=OURS)
    assert caught.value.param == "image"


def test_errors_are_of_its_types(client):
    with pytest.raises(openai.AuthenticationError, match="send a key"):
        client.with_options(api_key="wrong").models.list()
    with pytest.raises(openai.BadRequestError, match="steps = 0") as caught:
        client.images.generate(prompt="a circle", extra_body={"steps": 0})
    assert caught.value.param == "steps"
    with pytest.raises(openai.BadRequestError, match="mask"):
        client.images.edit(prompt="a circle", image=start(), mask=start())
