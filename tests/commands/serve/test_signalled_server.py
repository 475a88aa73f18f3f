"""A signal ends the server: what was begun is answered, what takes too long is told so, and nothing is broken off."""

import contextlib
import http.client
import json
import os
import signal
import threading
import time

import pytest

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from gendiff.commands.serve import command, image_requests, signalled_server, trusted_hosts, web_app  # noqa: E402
from gendiff.commands.serve.access_log import AccessLog  # noqa: E402
from gendiff.commands.serve.batching import Batcher  # noqa: E402
from gendiff.commands.serve.image_requests import Limits  # noqa: E402
from gendiff.runs import interruption  # noqa: E402
from gendiff.runs.errors import Preempted  # noqa: E402
from tests.commands.serve.fake_program import SIDE, FakeProgram, served  # noqa: E402

REASON = "the server is stopping"


@pytest.mark.fault("serve: a signal while pictures are drawn")
@pytest.mark.parametrize(
    ("seconds", "opens", "status", "number"), [(20, True, 200, "SIGTERM"), (0.1, False, 503, "SIGINT")]
)
def test_after_a_signal_a_request_is_answered_and_one_that_goes_on_is_told_that_the_server_stops(
    monkeypatch, capfd, seconds, opens, status, number
):
    monkeypatch.setattr(signalled_server, "LAST_SECONDS", seconds)
    program = FakeProgram(1)
    batcher, answers = Batcher(program, 8), []
    app = web_app.web_app(
        served(), batcher, Limits("fake", SIDE, SIDE, steps=100, usual_steps=30), {*trusted_hosts.LOOPBACK}
    )
    program.open.clear()

    def ask(port):
        body = json.dumps({"prompt": "a circle", "steps": 3, "seed": 1})
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("POST", image_requests.ROUTE, body, {"Content-Type": "application/json"})
            with connection.getresponse() as answer:
                answers.append((answer.status, json.load(answer)))
        program.open.set()

    def stop():
        while not batcher.active:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.Signals[number])
        if opens:
            program.open.set()

    before = [signal.getsignal(each) for each in interruption.SIGNALS]
    with command.listening("127.0.0.1", 0) as listener:
        threads = [threading.Thread(target=ask, args=listener.getsockname()[1:]), threading.Thread(target=stop)]
        for thread in threads:
            thread.start()
        if number == "SIGTERM":
            with pytest.raises(Preempted, match="SIGTERM"):
                signalled_server.run(app, listener, lambda: batcher.close(REASON), AccessLog(None))
        else:
            signalled_server.run(app, listener, lambda: batcher.close(REASON), AccessLog(None))
        for thread in threads:
            thread.join()
    ((code, body),) = answers
    assert code == status and (opens or (body["error"]["code"], body["error"]["message"]) == ("stopping", REASON))
    assert [signal.getsignal(each) for each in interruption.SIGNALS] == before
    assert capfd.readouterr().err == "" and batcher.active == batcher.waiting == 0
