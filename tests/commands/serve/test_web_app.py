"""The server over HTTP: answers in OpenAI's form, refusals that name what is wrong, and nothing drawn for who has
left.
"""

import asyncio
import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from fastapi.testclient import TestClient  # noqa: E402

from gendiff.commands.serve import trusted_hosts, web_app  # noqa: E402
from gendiff.commands.serve.batching import Batcher  # noqa: E402
from gendiff.commands.serve.image_requests import ImageRequest, Limits  # noqa: E402
from gendiff.provenance import metadata  # noqa: E402
from gendiff.runs.reporting import figures  # noqa: E402
from tests.commands.serve.fake_program import SIDE, TOO_LONG, FakeProgram, expected, served  # noqa: E402
from tests.tables import table  # noqa: E402

LIMITS = Limits("fake", SIDE, SIDE, steps=100, usual_steps=30)
HOST = "http://127.0.0.1:8000"
ROUTE, EDITS = "/v1/images/generations", "/v1/images/edits"


def rig(room=8, **options):
    """(application, batcher, program)."""
    program = FakeProgram(2, **options)
    batcher = Batcher(program, room)
    return web_app.web_app(served(), batcher, LIMITS, {*trusted_hosts.LOOPBACK}), batcher, program


@pytest.fixture
def client():
    with TestClient(rig(spoilt=(13,), broken=(14,))[0], base_url=HOST, raise_server_exceptions=False) as client:
        yield client


def pixels(text):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def pixels_of(request, index, done=None):
    return figures.to_pixels(expected(request, index, done))


def test_a_request_is_answered_by_pictures_that_say_how_they_were_drawn(client, tmp_path):
    answer = client.post(ROUTE, json={"prompt": "a red cat", "n": 3, "steps": 4, "seed": 7, "guidance": 2})
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    body, request = answer.json(), ImageRequest("a red cat", n=3, steps=4, seed=7)
    assert [each["index"] for each in body["data"]] == [0, 1, 2] and isinstance(body["created"], int)
    for each in body["data"]:
        np.testing.assert_array_equal(pixels(each["b64_json"]), pixels_of(request, each["index"]))
    assert (body["seed"], body["steps"], body["guidance"], body["size"], body["model"]) == (7, 4, 2.0, "8x8", "fake")
    assert body["notes"] == ["prompt: no caption has the word cat"]
    (tmp_path / "picture.png").write_bytes(base64.b64decode(body["data"][1]["b64_json"]))
    settings = metadata.read(tmp_path / "picture.png").settings
    assert settings["prompt"] == "a red cat" and settings["seed"] == 7 and settings["index"] == 1


def test_a_seed_that_is_not_given_is_told_and_draws_the_same_again(client):
    first = client.post(ROUTE, json={"prompt": "a circle", "steps": 2}).json()
    again = client.post(ROUTE, json={"prompt": "a circle", "steps": 2, "seed": first["seed"]}).json()
    assert again["data"] == first["data"]


def events(answer):
    """(name, data) of each server-sent event."""
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_a_stream_shows_the_picture_on_its_way_and_then_whole(client):
    answer = client.post(ROUTE, json={"prompt": "a circle", "steps": 6, "seed": 3, "stream": True, "partial_images": 2})
    assert answer.headers["content-type"].startswith("text/event-stream")
    stream, request = events(answer), ImageRequest("a circle", steps=6, seed=3)
    assert [name for name, _ in stream] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [data.get("step") for _, data in stream] == [2, 4, None] and all(
        data["type"] == name for name, data in stream
    )
    assert [data.get("partial_image_index") for _, data in stream] == [0, 1, None]
    for (_, data), done in zip(stream, (2, 4, 6), strict=True):
        np.testing.assert_array_equal(pixels(data["b64_json"]), pixels_of(request, 0, done))


def test_a_stream_of_several_pictures_tells_which_is_which(client):
    fields = {"prompt": "a circle", "n": 2, "steps": 2, "seed": 3, "stream": True, "partial_images": 1}
    stream, request = events(client.post(ROUTE, json=fields)), ImageRequest("a circle", n=2, steps=2, seed=3)
    assert [(data["index"], data.get("step")) for _, data in stream] == [(0, 1), (1, 1), (0, None), (1, None)]
    for _, data in stream[2:]:
        np.testing.assert_array_equal(pixels(data["b64_json"]), pixels_of(request, data["index"]))


def test_a_form_with_a_picture_is_answered_but_not_from_a_page_of_another_site(client):
    stream = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE)).save(stream, format="PNG")
    form = {"data": {"prompt": "a cat", "steps": "10", "strength": "0.5"}, "files": {"image": stream.getvalue()}}
    for headers in ({}, {"Origin": HOST}):
        body = client.post(EDITS, **form, headers=headers).json()
        assert (body["steps"], body["run"]) == (10, 5) and body["data"][0]["b64_json"].startswith("iVBOR")
    refused = client.post(EDITS, data=form["data"], files=form["files"] | {"mask": stream.getvalue()})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "mask"
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        refused = client.post(EDITS, **form, headers={"Origin": origin})
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "origin"
    assert client.post(EDITS, json={"prompt": "a"}).status_code == 415
    large = client.post(EDITS, content=b" " * (8 * 1024 * 1024 + 1), headers={"Content-Type": "multipart/form-data"})
    assert large.status_code == 413


@pytest.mark.fault("serve: pictures that are not finite", "serve: the program fails")
def test_what_cannot_be_drawn_is_an_error_and_the_next_request_is_answered(client, capfd):
    fields = {"prompt": "a circle", "steps": 3}
    spoilt = client.post(ROUTE, json=fields | {"seed": 13})
    assert spoilt.status_code == 422 and spoilt.json()["error"]["code"] == "not_finite"
    stream = events(client.post(ROUTE, json=fields | {"seed": 13, "stream": True}))
    assert [name for name, _ in stream] == ["error"] and "not finite" in stream[0][1]["error"]["message"]
    broken = client.post(ROUTE, json=fields | {"seed": 14})
    assert broken.status_code == 500 and broken.json()["error"]["type"] == "server_error"
    assert (
        client.post(ROUTE, json=fields | {"seed": 1}).status_code == 200 and client.get("/healthz").status_code == 200
    )
    assert "no memory is left" in capfd.readouterr().err  # which the thread has written before it drew again


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
@table(
    ("request_", "status", "field"),
    [
        ({"json": {"prompt": ""}}, 400, "prompt"),
        ({"json": {"prompt": TOO_LONG}}, 400, "prompt"),
        ({"json": {"prompt": "a", "steps": 0}}, 400, "steps"),
        ({"json": {"prompt": "a", "image": "/etc/passwd"}}, 400, "image"),
        ({"json": {"prompt": "a", "model": "other"}}, 404, "model"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, None),
        ({"content": b'{"prompt": "a"}', "headers": {"Content-Type": "text/plain"}}, 415, None),
        ({"content": b" " * 70_000, "headers": {"Content-Type": "application/json; charset=utf-8"}}, 413, None),
        ({"json": {"prompt": "a"}, "headers": {"Host": "evil.example"}}, 421, None),
        ({"method": "GET"}, 405, None),
        ({"method": "GET", "url": "/v1/files"}, 404, None),
        ({"method": "GET", "url": "/../../etc/passwd"}, 404, None),
    ],
)
def test_a_bad_request_is_one_error_in_openais_form(client, request_, status, field):
    answer = client.request(**({"method": "POST", "url": ROUTE} | request_))
    error = answer.json()["error"]
    assert (
        answer.status_code == status
        and error["param"] == field
        and error["message"]
        and error["type"].endswith("_error")
    )


@pytest.mark.fault("serve: more requests than there is room for")
def test_without_room_the_answer_is_429_with_the_seconds_to_wait():
    app, batcher, _ = rig(room=1)
    client = TestClient(app, base_url=HOST)  # without its lifespan nothing is drawn
    batcher.submit(ImageRequest("a circle", n=3), None, print)
    answer = client.post(ROUTE, json={"prompt": "a circle"})
    assert (
        answer.status_code == 429
        and int(answer.headers["retry-after"]) >= 1
        and answer.json()["error"]["code"] == "queue_full"
    )
    assert client.get("/healthz").status_code == 503


@pytest.mark.fault("serve: a client leaves before its pictures are drawn")
@table("stream", [False, True])
@table("at_once", [False, True])
def test_when_the_client_leaves_nothing_more_is_drawn_for_it(stream, at_once):
    app, batcher, program = rig()
    program.open.clear()
    body = json.dumps({"prompt": "a circle", "steps": 50, "stream": stream}).encode()

    async def leave():
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            while not (batcher.active or at_once):
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message):
            await asyncio.sleep(0)  # as where the client reads slowly: it may be cancelled before the stream begins

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": ROUTE,
            "raw_path": ROUTE.encode(),
            "query_string": b"",
            "headers": headers,
        }
        scope |= {
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(app(scope, receive, send), 20)
            program.open.set()

    asyncio.run(leave())
    assert batcher.totals.cancelled == 1 and batcher.active == batcher.waiting == 0 and len(program.turns) <= 1
    assert 'gendiff_request_seconds_count{status="499"} 1.0' in TestClient(app, base_url=HOST).get("/metrics").text


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
def test_what_is_just_allowed_is_read_and_an_error_says_what_may_be_asked(client):
    body = json.dumps({"prompt": "a circle", "steps": 1, "seed": 1}).encode()
    for content, status in ((body.ljust(64 * 1024), 200), (body.ljust(64 * 1024 + 1), 413)):
        assert (
            client.post(
                ROUTE, content=content, headers={"Content-Type": "Application/JSON ; charset=utf-8"}
            ).status_code
            == status
        )
    assert client.get(ROUTE).headers["allow"] == "POST"
    refused = client.get("/", headers={"Host": "evil.example"})
    assert refused.status_code == 421 and "default-src 'none'" in refused.headers["content-security-policy"]


def test_a_server_that_is_open_to_other_machines_answers_to_any_name():
    app = web_app.web_app(served(), Batcher(FakeProgram(2), 8), LIMITS, None)
    assert TestClient(app, base_url="http://pictures.example:8000").get("/v1/models").status_code == 200


def test_an_error_that_nobody_has_foreseen_tells_nothing_of_the_machine():
    def read(prompt, negative):
        raise RuntimeError("/home/someone/secret.safetensors")

    app = web_app.web_app(
        dataclasses.replace(served(), read=read), Batcher(FakeProgram(2), 8), LIMITS, {*trusted_hosts.LOOPBACK}
    )
    answer = TestClient(app, base_url=HOST, raise_server_exceptions=False).post(ROUTE, json={"prompt": "a circle"})
    assert answer.status_code == 500 and answer.json()["error"]["message"] == "the server has failed; its log says how"


def test_the_page_asks_no_other_host_and_every_answer_forbids_it(client):
    page = client.get("/")
    assert (
        page.status_code == 200
        and not re.findall(r"(?:https?:)?//[a-z0-9]", page.text)
        and "<script src" not in page.text
    )
    for answer in (page, client.get("/v1/models"), client.get("/absent")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "fake" and model["most"]["steps"] == 100 and model["usual"] == {"steps": 30, "guidance": 5.0}
    assert model["references"] == 0 and model["masks"] is True


def test_metrics_count_what_was_asked_and_drawn(client):
    client.post(ROUTE, json={"prompt": "a circle", "n": 2, "steps": 3, "seed": 1})
    client.post(ROUTE, json={"prompt": "", "n": 2})
    text = client.get("/metrics").text
    expected_lines = {
        "gendiff_pictures_total 2.0",
        "gendiff_steps_total 6.0",
        "gendiff_turns_total 3.0",
        "gendiff_pictures_waiting 0.0",
    }
    expected_lines |= {
        'gendiff_request_seconds_count{status="200"} 1.0',
        'gendiff_request_seconds_count{status="400"} 1.0',
    }
    assert expected_lines <= set(text.splitlines())


@table(
    ("header", "name"),
    [
        ("localhost:8000", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("Evil.Net", "evil.net"),
    ],
)
def test_the_name_of_a_host_is_without_its_port(header, name):
    assert trusted_hosts.host_name(header) == name
