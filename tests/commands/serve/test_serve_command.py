"""The command: a real process answers over HTTP and ends by a signal; each mistake is one error before anything is
compiled.
"""

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

from gendiff.commands.serve import command, compiled_steps, serve_options  # noqa: E402
from gendiff.commands.serve.image_requests import ImageRequest  # noqa: E402
from gendiff.commands.serve.request_scheduler import Full  # noqa: E402
from gendiff.commands.serve.serve_options import ServeOptions  # noqa: E402
from gendiff.commands.text_to_image import published  # noqa: E402
from gendiff.core.errors import ConfigError  # noqa: E402
from gendiff.runs.progress import Progress  # noqa: E402
from tests.commands.serve.fake_program import FakeProgram, served  # noqa: E402
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
        ({"port": "taken"}, "choose another one"),
        ({"port": 0, "model": "shapse"}, "did you mean 'shapes'"),
        ({"port": 0, "height": 64}, "--height is for a folder of diffusers"),
        ({"port": 0, "host": "0.0.0.0"}, "--host 0.0.0.0 lets other machines draw: add --api-key-file"),
        ({"port": 0, "api_key_file": "/none"}, "--api-key-file /none: No such file"),
        ({"port": 0, "access_log": "/none/log"}, "--access-log /none/log: No such file"),
    ],
)
def test_a_mistake_is_one_error_that_names_the_option(options, message):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        named = {"port": taken.getsockname()[1]} if options.get("port") == "taken" else {}
        with pytest.raises(ConfigError, match=message):
            chosen = ServeOptions(**(options | named))
            serve_options.check(chosen)
            command.call(chosen, {}, Progress(quiet=True))


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
        sizes = (1,)

        def __init__(self, served, together, most_steps):
            super().__init__(together)
            self.most_steps = most_steps

        def warm(self):
            assert self.most_steps == 20

    network = dataclasses.replace(served(), most_steps=20, usual_steps=30)
    monkeypatch.setattr(command, "_served", lambda options, progress: network)
    monkeypatch.setattr(compiled_steps, "CompiledSteps", Programs)
    app, batcher = command._app(ServeOptions(together=2, queue=4), "127.0.0.1", (), Progress(quiet=True))
    (model,) = TestClient(app, base_url="http://127.0.0.1").get("/v1/models").json()["data"]
    assert (model["most"]["steps"], model["usual"]["steps"], model["most"]["n"]) == (20, 20, 4)
    with pytest.raises(Full):
        batcher.submit(ImageRequest("a circle", n=7), None, print)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Where the second process finds what the first has compiled."""
    return tmp_path_factory.mktemp("programs")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 42)])
def test_a_process_draws_with_the_committed_network_and_ends_by_a_signal(programs, number, code):
    if not any((published.FOLDER / f"{name}.safetensors").is_file() for name in published.MODELS):
        pytest.skip("no network is committed")
    words = [
        sys.executable,
        "-u",
        "-m",
        "experiments",
        "serve",
        "--port",
        "0",
        "--together",
        "2",
        "--compile-cache",
        str(programs),
    ]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            address = next(
                match[0] for line in process.stdout if (match := re.search(r"http://127\.0\.0\.1:\d+", line))
            )
            body = json.dumps({"prompt": "a small red circle at the top left", "steps": 2, "seed": 1}).encode()
            request = urllib.request.Request(
                f"{address}/v1/images/generations", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                assert json.load(answer)["data"][0]["b64_json"].startswith("iVBOR")
            process.send_signal(number)
            _, output = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code and "Traceback" not in output
    assert code == 0 or "requests that were begun are answered" in output
