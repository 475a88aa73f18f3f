"""The command: a real process answers over HTTP and ends by a signal; each mistake is one error before anything is
compiled.
"""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from fastapi.testclient import TestClient  # noqa: E402

from gendiff import weights  # noqa: E402
from gendiff.commands.serve import command, compiled_steps, serve_options, token_steps  # noqa: E402
from gendiff.commands.serve.image_requests import ImageRequest  # noqa: E402
from gendiff.commands.serve.request_scheduler import Full  # noqa: E402
from gendiff.commands.serve.serve_options import ServeOptions  # noqa: E402
from gendiff.commands.text_to_image import published  # noqa: E402
from gendiff.core.errors import ConfigError  # noqa: E402
from gendiff.runs.progress import Progress  # noqa: E402
from tests.commands.serve.fake_program import FakeProgram, served  # noqa: E402
from tests.commands.serve.fake_tokens import FakeTokens, chat_model, reply  # noqa: E402
from tests.tables import table  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.fault("serve: a place that is taken, or is none", "serve: a host that other machines reach, without a key")
@table(
    ("options", "message"),
    [
        ({"port": 70_000}, "--port 70000 is outside 0 … 65535"),
        ({"together": 0}, "--together 0"),
        ({"queue": 0}, "--queue 0"),
        ({"most_steps": 0}, "--most-steps 0"),
        ({"host": "no.such.host.invalid"}, "--host no.such.host.invalid"),
        ({"host": "a..b"}, "--host a..b: "),
        ({"port": "taken"}, "choose another one"),
        ({"port": 0, "model": "shapse"}, "did you mean 'shapes'"),
        ({"port": 0, "height": 64}, "--height is for a folder of diffusers: name one by --model"),
        (
            {"model": "org/FLUX.1-dev", "height": 64},
            "is none; for a model of the Hugging Face hub",
        ),
        ({"model": __file__, "height": 64}, "is none; a single file goes with its folder: --model DIR --weights"),
        ({"port": 0, "model": "x.gguf"}, "--model x.gguf is no file"),
        ({"port": 0, "chat": "org/name"}, "then give --chat name$"),
        ({"chat": "smollm2", "lora": ("none",)}, "--lora none: no such folder"),
        ({"port": 0, "host": "0.0.0.0"}, "--host 0.0.0.0 lets other machines use it: add --api-key-file"),
        ({"port": 0, "api_key_file": "/none"}, "--api-key-file /none: No such file"),
        ({"port": 0, "access_log": "/none/log"}, "--access-log /none/log: No such file"),
        ({"weights": "int8"}, "--weights is for a folder of diffusers"),
        ({"lora": ("style.safetensors",)}, "--lora is for a folder of diffusers"),
        ({"chat": "smollm2", "weights": "int9"}, "int9.*did you mean"),
        ({"chat": "smollm2", "lora": ("one", "two")}, "--lora names 2 adapters, and --chat takes one"),
        ({"most_tokens": 9}, "--most-tokens is for --chat"),
        ({"chat": "smollm2", "model": "emoji"}, "--model is for pictures, not for --chat"),
        ({"chat": "smollm2", "sampler": "ddim"}, "--sampler is for pictures"),
        ({"chat": "smollm2", "context": 1}, "--context 1 is outside 2"),
        ({"chat": "smollm2", "guesses": 16}, "--guesses 16 is outside 0 … 15"),
        ({"chat": "smollm2", "guesses": 1}, "--guesses 1 never pays"),
        ({"guesses": 7}, "--guesses is for --chat"),
        ({"port": 0, "chat": "/none"}, "--chat /none is no file or folder"),
    ],
)
def test_a_mistake_is_one_error_that_names_the_option(options, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        named = {"port": taken.getsockname()[1]} if options.get("port") == "taken" else {}
        with pytest.raises(ConfigError, match=message):
            chosen = ServeOptions(**(options | named))
            serve_options.check(chosen)
            command.call(chosen, {}, Progress(quiet=True))


def test_a_language_model_takes_its_weights_and_one_adapter():
    serve_options.check(ServeOptions(chat="smollm2", weights="int8", lora=(str(Path(__file__).parent),)))


def test_a_folder_refuses_a_lora_that_is_not_there_before_anything_is_read(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ConfigError, match="--lora style.safetensors:2: no such file: style.safetensors"):
        serve_options.check(ServeOptions(model=str(tmp_path), lora=("style.safetensors:2",)))


def test_without_its_packages_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(serve_options.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"serve needs fastapi: install this project's extra \[serve\]"):
        serve_options.check(ServeOptions())


def test_only_a_place_of_this_machine_asks_for_the_name_of_a_request():
    assert command.hosts(ServeOptions(), "127.0.0.1") >= {"127.0.0.1", "localhost", "[::1]"}
    assert command.hosts(ServeOptions(host="0.0.0.0"), "0.0.0.0") is None
    assert all(command.is_loopback(host) for host in ("127.0.0.1", "::1", "127.9.9.9"))
    for options in (ServeOptions(host="0.0.0.0", open=True), ServeOptions(host="0.0.0.0", api_key_file="keys")):
        command.check_open(options, "0.0.0.0")
    command.check_open(ServeOptions(host="localhost"), "127.0.0.1")
    assert not any(command.is_loopback(host) for host in ("0.0.0.0", "192.168.0.7", "::"))


def test_no_request_may_ask_for_more_than_the_network_or_the_queue_takes(monkeypatch):
    class Programs(FakeProgram):
        def __init__(self, served, together, most_steps):
            super().__init__(together)
            self.most_steps = most_steps

        def warm(self):
            assert self.most_steps == 20
            self.ready = 1
            yield 1

    network = dataclasses.replace(served(), most_steps=20, usual_steps=30, grid=lambda steps: None)
    monkeypatch.setattr(command, "_served", lambda options, progress: network)
    monkeypatch.setattr(compiled_steps, "CompiledSteps", Programs)
    app, batcher, sizes = command._app(ServeOptions(together=2, queue=4), "127.0.0.1", (), Progress(quiet=True))
    (model,) = TestClient(app, base_url="http://127.0.0.1").get("/v1/models").json()["data"]
    assert (model["most"]["steps"], model["usual"]["steps"], model["most"]["n"]) == (20, 20, 4)
    with pytest.raises(Full):
        batcher.submit(ImageRequest("a circle", n=7), None, print)


def test_no_request_may_ask_for_more_tokens_than_the_model_or_the_options_allow(monkeypatch):
    class Programs(FakeTokens):
        def __init__(self, chat, together, context, tokens, guesses):
            super().__init__(together, guesses=guesses)
            self.context, self.tokens, self.is_warm = context, tokens, False

        def warm(self):
            self.is_warm = (self.context, self.tokens, self.guesses) == (256, 300, 7)

    monkeypatch.setattr(command.models, "weighted", lambda *names: chat_model())
    monkeypatch.setattr(command.models, "located", Path)
    monkeypatch.setattr(token_steps, "TokenSteps", Programs)
    numbers = {"together": 2, "queue": 4, "cache_tokens": 300, "guesses": 7}
    options = ServeOptions(chat="folder/tiny.gguf", compile_cache="none", **numbers)
    app, batcher, sizes = command._text_app(options, "127.0.0.1", (), Progress(quiet=True))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        (model,) = client.get("/v1/models").json()["data"]
        assert model["id"] == "tiny" and model["most"] == {"context": 256, "max_tokens": 255, "n": 4, "seed": 2**32 - 1}
        fields = {"messages": [{"role": "user", "content": "Hello"}], "seed": 1}
        (choice,) = client.post("/v1/chat/completions", json=fields).json()["choices"]
        assert choice["message"]["content"] == reply(1, 0) and batcher._program.is_warm
    with pytest.raises(ConfigError, match="--cache-tokens 200 has no room for one request of --context 256"):
        command._text_app(dataclasses.replace(options, cache_tokens=200), "127.0.0.1", (), Progress(quiet=True))


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Where the second process finds what the first has compiled."""
    return tmp_path_factory.mktemp("programs")


@contextlib.contextmanager
def served_by_a_process(*options):
    """(process, address) of the command at a port that is free."""
    words = [sys.executable, "-u", "-m", "experiments", "serve", "--port", "0", "--together", "2", *options]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield (
                process,
                next(match[0] for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line))),
            )
        finally:
            process.kill()


def answer_to(url, fields):
    """The body of the answer."""
    request = urllib.request.Request(url, json.dumps(fields).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 42)])
def test_a_process_draws_with_the_committed_network_and_ends_by_a_signal(programs, number, code):
    if not any((published.FOLDER / f"{name}.safetensors").is_file() for name in published.MODELS):
        pytest.skip("no network is committed")
    with served_by_a_process("--compile-cache", str(programs)) as (process, address):
        fields = {"prompt": "a small red circle at the top left", "steps": 2, "seed": 1}
        assert json.loads(answer_to(f"{address}/v1/images/generations", fields))["data"][0]["b64_json"].startswith(
            "iVBOR"
        )
        process.send_signal(number)
        _, output = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in output
    assert code == 0 or "requests that were begun are answered" in output


@pytest.mark.slow
def test_a_process_answers_with_the_language_model_that_pip_brings(programs):
    try:
        weights.smollm2.path()
    except ImportError as error:
        pytest.skip(str(error))
    question = [{"role": "user", "content": "What is the capital of France?"}]
    fields = {"messages": question, "temperature": 0, "max_tokens": 24}
    options = "--chat", "smollm2", "--context", "256", "--cache-tokens", "512", "--compile-cache", str(programs)
    with served_by_a_process(*options) as (process, address):
        url = f"{address}/v1/chat/completions"
        (choice,) = json.loads(answer_to(url, fields))["choices"]
        assert "Paris" in choice["message"]["content"] and choice["finish_reason"] in ("stop", "length")
        blocks = [
            block.removeprefix("data: ") for block in answer_to(url, fields | {"stream": True}).split("\n\n") if block
        ]
        parts = [json.loads(block)["choices"][0]["delta"].get("content", "") for block in blocks[:-1]]
        assert blocks[-1] == "[DONE]" and len(parts) > 4 and "".join(parts) == choice["message"]["content"]
        drawn_from = fields | {"temperature": 1, "seed": 3, "n": 2}
        assert json.loads(answer_to(url, drawn_from))["choices"] == json.loads(answer_to(url, drawn_from))["choices"]
        process.send_signal(signal.SIGTERM)
        _, output = process.communicate(timeout=60)
    assert process.returncode == 42 and "Traceback" not in output
