"""What may be asked of a language model is read with its defaults; everything else is refused by its name."""

import json
import secrets

import pytest

from gendiff.commands.serve import text_requests
from gendiff.commands.serve.api_errors import ApiError
from gendiff.commands.serve.text_requests import CHAT, COMPLETIONS, TextLimits, TextRequest
from tests.tables import table

LIMITS = TextLimits("tiny", 256, 128, 4)
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def seven(monkeypatch):
    """What is drawn for a seed."""
    monkeypatch.setattr(secrets, "randbelow", lambda count: 7)


def read(route, **fields):
    return text_requests.read(route, json.dumps(fields).encode(), LIMITS)


def test_a_request_that_says_little_has_the_defaults_of_openais_api():
    assert read(CHAT, messages=HELLO) == TextRequest(CHAT, HELLO, seed=7)
    assert read(COMPLETIONS, prompt="a") == TextRequest(COMPLETIONS, prompts=("a",), longest=16, seed=7)


def test_every_field_is_read():
    fields = {"model": "tiny", "n": 2, "max_completion_tokens": 9, "temperature": 0, "top_p": 0.5, "stop": "\n"}
    fields |= {"seed": 3, "stream": True, "stream_options": {"include_usage": True}, "user": "someone"}
    shared = {"n": 2, "longest": 9, "temperature": 0.0, "top_p": 0.5, "stop": ("\n",), "seed": 3, "stream": True}
    shared |= {"usage": True, "scored": True}
    chat = read(CHAT, messages=HELLO, logprobs=True, top_logprobs=20, **fields)
    assert chat == TextRequest(CHAT, HELLO, top=20, **shared)
    fields["max_tokens"] = fields.pop("max_completion_tokens")
    assert read(COMPLETIONS, prompt=["a", "b"], logprobs=0, **fields) == TextRequest(
        COMPLETIONS, prompts=("a", "b"), **shared
    )


def test_messages_are_texts_or_parts_of_texts_and_a_developer_is_the_system():
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    answer = {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": None, "annotations": []}
    messages = [{"role": "developer", "content": "Be brief"}, {"role": "user", "content": parts}, answer]
    assert read(CHAT, messages=messages).messages == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
    ]


def test_fields_that_ask_for_nothing_are_taken_as_clients_send_them():
    nothing = {name: values[0] for name, values in text_requests.NEUTRAL.items()}
    assert read(CHAT, messages=HELLO, **nothing, logprobs=None) == read(CHAT, messages=HELLO)


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
@table(
    ("route", "fields", "field", "words"),
    [
        (CHAT, {}, "messages", "must be a list of 1 to 1000"),
        (CHAT, {"messages": []}, "messages", "must be a list"),
        (CHAT, {"messages": "Hello"}, "messages", "must be a list"),
        (CHAT, {"messages": HELLO * 1001}, "messages", "1 to 1000"),
        (CHAT, {"messages": ["Hello"]}, "messages[0]", "must be an object"),
        (
            CHAT,
            {"messages": [*HELLO, {"role": "tool", "content": "x"}]},
            "messages[1].role",
            "one of system, developer",
        ),
        (CHAT, {"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role", "must be one of"),
        (CHAT, {"messages": [{"content": "x"}]}, "messages[0].role", "None must be one of"),
        (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content", "must be a text"),
        (CHAT, {"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "3 must be a text"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "only texts",
        ),
        (CHAT, {"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content", "only texts"),
        (CHAT, {"messages": [HELLO[0] | {"name": "me"}]}, "messages[0].name", "is not read"),
        (CHAT, {"messages": [HELLO[0] | {"tool_calls": [1]}]}, "messages[0].tool_calls", "is not read"),
        (CHAT, {"messages": [HELLO[0] | {"\x1b[2J": 1}]}, r"messages[0].\x1b[2J", "is not read"),
        (CHAT, {"messages": HELLO, "prompt": "x"}, "prompt", "is no field"),
        (CHAT, {"messages": HELLO, "max_token": 3}, "max_token", "did you mean 'max_tokens'"),
        (CHAT, {"messages": HELLO, "x" * 1000: 3}, "x" * 60, "is no field"),
        (CHAT, {"messages": HELLO, "model": "gpt-4"}, "model", "this server has 'tiny'"),
        (CHAT, {"messages": HELLO, "max_tokens": 10**9}, "max_tokens", "an integer from 1 to 128"),
        (CHAT, {"messages": HELLO, "max_tokens": 10**4000}, "max_tokens", "a number of many digits"),
        (CHAT, {"messages": HELLO, "max_tokens": 0}, "max_tokens", "from 1 to 128"),
        (CHAT, {"messages": HELLO, "max_completion_tokens": 1.5}, "max_completion_tokens", "an integer"),
        (CHAT, {"messages": HELLO, "max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", "they differ"),
        (CHAT, {"messages": HELLO, "n": 5}, "n", "from 1 to 4"),
        (CHAT, {"messages": HELLO, "n": True}, "n", "from 1 to 4"),
        (CHAT, {"messages": HELLO, "temperature": 2.1}, "temperature", "from 0 to 2"),
        (CHAT, {"messages": HELLO, "temperature": "hot"}, "temperature", "must be a number"),
        (CHAT, {"messages": HELLO, "top_p": -0.1}, "top_p", "from 0 to 1"),
        (CHAT, {"messages": HELLO, "stop": ""}, "stop", "1 to 100 characters"),
        (CHAT, {"messages": HELLO, "stop": ["x"] * 17}, "stop", "at most 16"),
        (CHAT, {"messages": HELLO, "stop": ["x" * 101]}, "stop", "1 to 100 characters"),
        (CHAT, {"messages": HELLO, "stop": {"a": 1}}, "stop", "must be a text"),
        (CHAT, {"messages": HELLO, "seed": -1}, "seed", "from 0 to 4294967295"),
        (CHAT, {"messages": HELLO, "stream": "yes"}, "stream", "true or false"),
        (CHAT, {"messages": HELLO, "stream_options": {"include_usage": True}}, "stream_options", "add stream = true"),
        (CHAT, {"messages": HELLO, "stream": True, "stream_options": {"x": 1}}, "stream_options", "include_usage"),
        (CHAT, {"messages": HELLO, "logprobs": 3}, "logprobs", "true or false"),
        (CHAT, {"messages": HELLO, "top_logprobs": 2}, "top_logprobs", "add logprobs = true"),
        (CHAT, {"messages": HELLO, "logprobs": True, "top_logprobs": 21}, "top_logprobs", "from 0 to 20"),
        (CHAT, {"messages": HELLO, "tools": [{"type": "function"}]}, "tools", "this server has none of it"),
        (CHAT, {"messages": HELLO, "frequency_penalty": 0.5}, "frequency_penalty", "has none of it"),
        (CHAT, {"messages": HELLO, "response_format": {"type": "json_object"}}, "response_format", "has none of it"),
        (CHAT, {"messages": HELLO, "user": "x" * 513}, "user", "at most 512"),
        (COMPLETIONS, {}, "prompt", "must be a text"),
        (COMPLETIONS, {"prompt": []}, "prompt", "must be a text"),
        (COMPLETIONS, {"prompt": [1, 2, 3]}, "prompt", "ids are not read"),
        (COMPLETIONS, {"prompt": ["x"] * 5}, "prompt", "at most 4 are read"),
        (COMPLETIONS, {"prompt": ["x"] * 2, "n": 3}, "n", "at most 4 replies"),
        (COMPLETIONS, {"prompt": "x", "logprobs": 6}, "logprobs", "from 0 to 5"),
        (COMPLETIONS, {"prompt": "x", "echo": True}, "echo", "has none of it"),
        (COMPLETIONS, {"prompt": "x", "messages": HELLO}, "messages", "is no field"),
    ],
)
def test_a_mistake_is_one_error_that_names_its_field(route, fields, field, words):
    with pytest.raises(ApiError) as caught:
        text_requests.read(route, json.dumps(fields).encode() if field != "" else b"", LIMITS)
    assert caught.value.field == field and words in str(caught.value) and len(str(caught.value)) < 300
    assert caught.value.status == (404 if field == "model" else 400)


@pytest.mark.fault("serve: a request that is none, or asks for what cannot be drawn")
@table("body", [b"", b"{", b"[]", b"3", b"\xff", b'{"messages": [' * 5000, b'{"n": 1e999}'])
def test_a_body_that_is_no_object_of_json_is_refused(body):
    with pytest.raises(ApiError):
        text_requests.read(CHAT, body, LIMITS)
