"""Slow and silent clients lose their connections, and the others are answered meanwhile."""

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from fastapi import FastAPI, Request, Response  # noqa: E402
from starlette.requests import ClientDisconnect  # noqa: E402

from gendiff.commands.serve import limited_connections  # noqa: E402
from gendiff.commands.serve.trusted_hosts import HEADERS  # noqa: E402
from tests.commands.serve.serving import serving  # noqa: E402
from tests.tables import table  # noqa: E402

HALF_HEADERS = b"POST /body HTTP/1.1\r\nHost: local"
HALF_BODY = b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
UP = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
LARGE = 32 * 1024 * 1024


def echo():
    """Answers at once, after the body, or with more than sockets hold."""
    app = FastAPI()

    @app.get("/healthz")
    async def up() -> Response:
        return Response("up")

    @app.post("/body")
    async def body(request: Request) -> Response:
        try:
            return Response(await request.body())
        except ClientDisconnect:
            return Response(status_code=499)

    @app.get("/large")
    async def large() -> Response:
        return Response(b"a" * LARGE)

    return app


def opened(port, sent):
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(sent)
    return client


def answer(client):
    """All that comes until the server closes the connection."""
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.fault("serve: a request that comes slowly or never ends")
@table(("sent", "part", "logged"), [(HALF_HEADERS, b"headers", ("", 408)), (HALF_BODY, b"body", ("/body", 499))])
def test_a_request_that_does_not_come_in_full_in_time_is_answered_408_and_logged(monkeypatch, sent, part, logged):
    monkeypatch.setattr(limited_connections, "SECONDS", 0.1)
    lines = io.StringIO()
    with serving(echo(), lines) as (port, _):
        head, _, body = answer(opened(port, sent)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ") and all(value in head for _, value in HEADERS)
    assert b"the " + part + b" did not come within 0.1 s" in body and json.loads(body)["error"]["code"] == "timeout"
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["path"], line["status"]) == logged and line["client"] == "127.0.0.1"


@pytest.mark.fault("serve: a request that comes slowly or never ends")
def test_a_body_that_trickles_after_its_answer_and_an_answer_that_is_not_taken_end_too(monkeypatch):
    monkeypatch.setattr(limited_connections, "SECONDS", 0.1)
    with serving(echo()) as (port, server):
        trickling = opened(port, UP.replace(b"Connection: close", b"Content-Length: 1000") + b"\r\n")
        deaf = opened(port, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end = time.monotonic() + 10
        while time.monotonic() < end and (not server.server_state.total_requests or server.server_state.connections):
            with contextlib.suppress(OSError):
                trickling.sendall(b"a")
            time.sleep(0.02)
        assert not server.server_state.connections
        assert len(answer(trickling)) > 0
        assert len(answer(deaf)) < LARGE


@pytest.mark.fault("serve: more connections than there may be")
def test_among_too_many_connections_the_oldest_that_waits_gives_way_with_503(monkeypatch):
    monkeypatch.setattr(limited_connections, "most", lambda: 3)
    with serving(echo()) as (port, server), contextlib.ExitStack() as clients:
        silent = [clients.enter_context(opened(port, HALF_HEADERS)) for _ in range(3)]
        while sum(each.conn.trailing_data[0] == HALF_HEADERS for each in server.server_state.connections) < 3:
            time.sleep(0.01)
        for _ in range(2):
            assert answer(opened(port, UP + b"\r\n")).startswith(b"HTTP/1.1 200 ")
        first = answer(silent[0])
        assert first.startswith(b"HTTP/1.1 503 ") and b'"code":"busy"' in first


@pytest.mark.fault("serve: a signal while pictures are drawn")
def test_requests_that_are_not_whole_do_not_hold_up_the_end():
    with serving(echo()) as (port, server):
        headers, body = (opened(port, sent) for sent in (HALF_HEADERS, HALF_BODY))
        while len(server.server_state.connections) < 2 or not server.server_state.tasks:
            time.sleep(0.01)
        begin, server.should_exit = time.monotonic(), True
        assert answer(headers) == b"" and answer(body).startswith(b"HTTP/1.1 503 ")
    assert time.monotonic() - begin < 5


@table(("files", "expected"), [(128, 64), (1024, 512), (10**6, 512), (1, 1), (-1, 512)])
def test_connections_take_at_most_half_of_the_files_that_may_be_open(monkeypatch, files, expected):
    monkeypatch.setattr(limited_connections.resource, "getrlimit", lambda which: (files, -1))
    assert limited_connections.most() == expected


SERVER = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
from gendiff.commands.serve import access_log, command, signalled_server
from tests.commands.serve.test_limited_connections import echo
with command.listening("127.0.0.1", 0) as listener:
    print("port", listener.getsockname()[1], flush=True)
    try:
        signalled_server.run(echo(), listener, lambda: None, access_log.AccessLog(None))
    finally:
        print("ended", flush=True)
"""


@pytest.mark.slow
@pytest.mark.fault("serve: more connections than there may be")
def test_200_requests_that_are_not_whole_do_not_keep_others_out_where_128_files_may_be_open():
    words = [sys.executable, "-c", SERVER]
    with (
        subprocess.Popen(
            words, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        contextlib.ExitStack() as clients,
    ):
        try:
            port = int(re.search(r"port (\d+)", process.stdout.readline())[1])
            for number in range(200):
                clients.enter_context(opened(port, (HALF_HEADERS, HALF_BODY)[number % 2]))
            for _ in range(3):
                begin = time.monotonic()
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as up:
                    assert up.status == 200 and time.monotonic() - begin < 1
            begin = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            assert process.stdout.readline() == "ended\n" and time.monotonic() - begin < 5
            assert "out of system resource" not in process.communicate(timeout=60)[1]
        finally:
            process.kill()
