"""The server of a language model over HTTP: answers in OpenAI's form, the same in a stream, and errors that name what
is wrong.
"""

import asyncio
import dataclasses
import json

import pytest

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from fastapi.testclient import TestClient  # noqa: E402

from gendiff import language  # noqa: E402
from gendiff.commands.serve import trusted_hosts  # noqa: E402
from gendiff.commands.serve.text_app import text_app  # noqa: E402
from gendiff.commands.serve.text_batching import TextBatcher  # noqa: E402
from gendiff.commands.serve.text_requests import CHAT, COMPLETIONS, TextLimits  # noqa: E402
from tests.commands.serve.fake_tokens import END, FakeTokens, chat_model, reply  # noqa: E402
from tests.tables import table  # noqa: E402

HOST = "http://127.0.0.1:8000"
HELLO = [{"role": "user", "content": "Hello"}]
LIMITS = TextLimits("tiny", 220, 200, 4)


def rig(chat=None, room=8, **options):
    """(application, batcher, program)."""
    chat = chat or chat_model()
    program = FakeTokens(**options)
    batcher = TextBatcher(program, chat.tokenizer.pieces, [END], room)
    return text_app(chat, batcher, LIMITS, {*trusted_hosts.LOOPBACK}), batcher, program


@pytest.fixture(scope="module")
def client():
    with TestClient(rig(broken=(14,))[0], base_url=HOST, raise_server_exceptions=False) as client:
        yield client


def events(answer):
    """The data of each server-sent event, of which the last is [DONE]."""
    *blocks, last = [block.removeprefix("data: ") for block in answer.text.split("\n\n") if block]
    assert last == "[DONE]"
    return [json.loads(block) for block in blocks]


def test_a_chat_is_answered_in_openais_form(client):
    answer = client.post(CHAT, json={"messages": HELLO, "seed": 1, "n": 2, "temperature": 0})
    body = answer.json()
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert (body["object"], body["model"], body["seed"]) == ("chat.completion", "tiny", 1)
    assert body["id"].startswith("chatcmpl-") and isinstance(body["created"], int)
    for index, choice in enumerate(body["choices"]):
        message = {"role": "assistant", "content": reply(1, index), "refusal": None}
        assert choice == {"index": index, "message": message, "logprobs": None, "finish_reason": "stop"}
    read, wrote = len("Hello\n"), 2 * (len(reply(1, 0).encode()) + 1)
    assert body["usage"] == {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}


def test_texts_are_gone_on_with_in_openais_form(client):
    fields = {"prompt": ["a", "bc"], "seed": 1, "max_tokens": 5, "logprobs": 2}
    body = client.post(COMPLETIONS, json=fields).json()
    assert body["object"] == "text_completion" and body["id"].startswith("cmpl-")
    assert [choice["text"] for choice in body["choices"]] == ["reply", "reply"]
    logprobs = {"tokens": list("reply"), "token_logprobs": [-0.5, -1.5, -2.5, -3.5, -4.5]}
    tops = [{letter: -0.5 - number, "A": -66.0, "B": -67.0} for number, letter in enumerate("reply")]
    logprobs |= {"top_logprobs": tops, "text_offset": [0, 1, 2, 3, 4]}
    assert body["choices"][0]["logprobs"] == logprobs and body["choices"][1]["finish_reason"] == "length"
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 10, "total_tokens": 13}


def test_log_probabilities_of_a_chat_are_of_the_tokens_that_are_told(client):
    fields = {"messages": HELLO, "seed": 1, "stop": "y 0", "logprobs": True, "top_logprobs": 1}
    (choice,) = client.post(CHAT, json=fields).json()["choices"]
    assert choice["message"]["content"] == "repl" and choice["finish_reason"] == "stop"
    other = {"token": "A", "logprob": -66.0, "bytes": [65]}
    assert choice["logprobs"]["content"] == [
        {"token": letter, "logprob": -0.5 - number, "bytes": [ord(letter)], "top_logprobs": [other]}
        for number, letter in enumerate("repl")
    ]


@table("fields", [{"seed": 1}, {"seed": 2, "n": 3, "logprobs": True, "top_logprobs": 2}, {"seed": 1, "stop": "ä€ an"}])
def test_a_stream_of_a_chat_is_the_answer_in_parts(client, fields):
    fields = {"messages": HELLO, **fields}
    expected = client.post(CHAT, json=fields).json()
    answer = client.post(CHAT, json=fields | {"stream": True, "stream_options": {"include_usage": True}})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events(answer)
    assert last["usage"] == expected["usage"] and last["choices"] == []
    assert {each["object"] for each in chunks} == {"chat.completion.chunk"}
    assert len({each["id"] for each in (*chunks, last)}) == 1
    parts = [each["choices"][0] for each in chunks]
    for choice in expected["choices"]:
        first, *rest = [part for part in parts if part["index"] == choice["index"]]
        assert first["delta"] == {"role": "assistant", "content": ""} and len(rest) > 9
        assert "".join(part["delta"].get("content", "") for part in rest) == choice["message"]["content"]
        assert [part["finish_reason"] for part in rest] == [None] * (len(rest) - 1) + ["stop"]
        if "logprobs" in fields:
            scores = [score for part in rest for score in part["logprobs"]["content"]]
            assert scores == choice["logprobs"]["content"]


def test_a_stream_of_texts_is_the_answer_in_parts(client):
    fields = {"prompt": "a", "seed": 4, "max_tokens": 40, "logprobs": 0}
    (choice,) = client.post(COMPLETIONS, json=fields).json()["choices"]
    parts = [each["choices"][0] for each in events(client.post(COMPLETIONS, json=fields | {"stream": True}))]
    assert "".join(part["text"] for part in parts) == choice["text"] and "ä€" in choice["text"]
    for name in ("tokens", "token_logprobs", "text_offset"):
        assert [each for part in parts for each in part["logprobs"][name]] == choice["logprobs"][name]
    assert choice["logprobs"]["top_logprobs"] is None and parts[-1]["finish_reason"] == "length"


def test_a_seed_that_is_not_given_is_told(client):
    first, second = (client.post(CHAT, json={"messages": HELLO, "max_tokens": 1}).json()["seed"] for _ in range(2))
    assert first != second


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
@table(
    ("request_", "status", "code", "words"),
    [
        (
            {"json": {"messages": [{"role": "user", "content": "x" * 230}]}},
            400,
            "context_length_exceeded",
            "231 tokens",
        ),
        ({"json": {"messages": HELLO * 5, "max_tokens": 200}}, 400, "context_length_exceeded", "at most 220"),
        ({"json": {"messages": [{"role": "user", "content": "<|endoftext|>"}]}}, 400, None, "begins or ends a message"),
        ({"json": {"messages": [{"role": "user", "content": "\ud800"}]}}, 400, None, "the body is not JSON"),
        ({"json": {"messages": HELLO, "tools": [1]}}, 400, None, "tools = [1]"),
        ({"json": {"messages": HELLO, "model": "gpt-4"}}, 404, "model_not_found", "gpt-4"),
        ({"content": b'{"messages": [{"role": "user", "content": "' + b"x" * 66_000}, 413, None, "more than 65536"),
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, None, "application/json"),
        ({"url": COMPLETIONS, "json": {"prompt": ""}}, 400, None, "nothing to go on with"),
        ({"url": COMPLETIONS, "json": {"prompt": "x" * 220}}, 400, "context_length_exceeded", "220 tokens"),
        ({"json": {"messages": HELLO, "seed": 14}}, 500, "writing_failed", "no memory is left"),
        ({"json": {"messages": HELLO}, "headers": {"Host": "evil.example"}}, 421, "host", "evil.example"),
        ({"url": "/v1/images/generations", "json": {"prompt": "a"}}, 404, None, "Not Found"),
        ({"url": "/", "method": "GET"}, 404, None, "Not Found"),
    ],
)
def test_a_bad_request_is_one_error_in_openais_form(client, capfd, request_, status, code, words):
    headers = {"Content-Type": "application/json"} | request_.pop("headers", {})
    if "json" in request_:  # with half of a character, too
        request_["content"] = json.dumps(request_.pop("json"))
    answer = client.request(**({"method": "POST", "url": CHAT} | request_), headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code) and words in error["message"]
    assert error["type"].endswith("_error")
    capfd.readouterr()


def test_what_just_fits_is_answered(client):
    body = client.post(CHAT, json={"messages": [{"role": "user", "content": "x" * 218}], "seed": 1}).json()
    assert body["usage"]["prompt_tokens"] == 219 and body["choices"][0]["message"]["content"] == "r"


def test_a_model_without_a_template_goes_on_with_texts_alone_and_a_broken_template_is_the_servers_fault():
    broken = language.chat_template.from_text("{{ messages.x.y }}")
    for template, status, words in ((None, 400, "no chat template"), (broken, 500, "template")):
        app, _, _ = rig(dataclasses.replace(chat_model(), template=template))
        with TestClient(app, base_url=HOST) as client:
            answer = client.post(CHAT, json={"messages": HELLO})
            assert answer.status_code == status and words in answer.json()["error"]["message"]
            assert client.post(COMPLETIONS, json={"prompt": "a"}).status_code == 200


def test_a_failure_in_a_stream_is_its_last_event(client, capfd):
    answer = client.post(CHAT, json={"messages": HELLO, "seed": 14, "stream": True})
    last = [block for block in answer.text.split("\n\n") if block][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "writing_failed"
    capfd.readouterr()


@pytest.mark.fault("serve: more requests than there is room for")
def test_without_room_the_answer_is_429_with_the_seconds_to_wait():
    app, batcher, _ = rig(room=1, together=1)
    client = TestClient(app, base_url=HOST)  # without its lifespan nothing is written
    answer = client.post(CHAT, json={"messages": HELLO, "n": 3})
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert client.get("/healthz").status_code == 503 and batcher.totals.full == 1


@pytest.mark.fault("serve: a client leaves before its pictures are drawn")
@table("stream", [False, True])
def test_when_the_client_leaves_its_slot_is_free(stream):
    app, batcher, program = rig()
    program.open.clear()
    body = json.dumps({"messages": HELLO, "seed": 2, "stream": stream}).encode()

    async def leave():
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            while not batcher.active:
                await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message):
            await asyncio.sleep(0)

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(), "query_string": b""}
        scope |= {"headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}
        scope |= {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}
        async with app.router.lifespan_context(app):
            await asyncio.wait_for(app(scope, receive, send), 20)
            program.open.set()
            while any(program.slots):
                await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert batcher.totals.cancelled == 1 and batcher.active == batcher.waiting == 0 and len(program.turns) <= 1


def test_models_and_metrics_name_what_is_served(client):
    (model,) = client.get("/v1/models").json()["data"]
    assert model["id"] == "tiny" and model["object"] == "model" and model["most"]["max_tokens"] == 200
    text = client.get("/metrics").text
    assert "gendiff_replies_total" in text and "gendiff_replies_writing 0.0" in text
