"""Who has no key of the server is answered nothing that was drawn; keys that could be guessed are refused."""

import io
import json

import pytest

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package, reason="needs the extra [serve]")

from fastapi.testclient import TestClient  # noqa: E402

from gendiff.commands.serve import api_keys, web_app  # noqa: E402
from gendiff.commands.serve.access_log import AccessLog, LoggedApp  # noqa: E402
from gendiff.commands.serve.batching import Batcher  # noqa: E402
from gendiff.commands.serve.image_requests import ROUTE, Limits  # noqa: E402
from gendiff.core.errors import ConfigError  # noqa: E402
from tests.commands.serve.fake_program import SIDE, FakeProgram, served  # noqa: E402
from tests.tables import table  # noqa: E402

KEYS = ("the-first-key-of-all", "another-key:0123456789")


@pytest.mark.fault("serve: a request without the key")
def test_without_a_key_only_the_page_is_shown_and_whether_the_server_is_up_and_the_log_has_no_prompt():
    lines, batcher = io.StringIO(), Batcher(FakeProgram(2), 8)
    limits = Limits("fake", SIDE, SIDE, steps=100, usual_steps=30)
    app = LoggedApp(web_app.web_app(served(), batcher, limits, None, KEYS), AccessLog(lines))
    body = {"prompt": "a secret cat", "steps": 2}
    with TestClient(app) as client:
        for key in (
            None,
            "",
            "Bearer",
            "Bearer wrong",
            f"Basic {KEYS[0]}",
            f"Bearer {KEYS[0]}x",
            f"Bearer {KEYS[0][:-1]}",
        ):
            headers = {} if key is None else {"Authorization": key}
            for method, path in (("POST", ROUTE), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/none")):
                refused = client.request(method, path, json=body if method == "POST" else None, headers=headers)
                assert refused.status_code == 401 and refused.json()["error"]["code"] == "invalid_api_key"
                assert refused.headers["www-authenticate"] == "Bearer" and "frame-ancestors" in str(refused.headers)
        assert batcher.totals.requests == 0
        assert client.get("/").status_code == 200 and client.get("/healthz").status_code == 200
        for key in KEYS:
            assert client.post(ROUTE, json=body, headers={"Authorization": f"bearer {key}"}).status_code == 200
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(each["status"], each["key"]) for each in records[-3:]] == [(200, None), (200, 1), (200, 2)]
    assert records[-1]["path"] == ROUTE and records[-1]["bytes"] > 100 and records[-1]["seconds"] >= 0
    assert "secret" not in lines.getvalue() and KEYS[0] not in lines.getvalue()


@table(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "each line must be a key"),
        (b" \n\n", "each line must be a key"),
        (b"too short\n", "at least 16"),
        (b"0123456789abcdef\nshort\n", "at least 16"),
        (b"0123456789 abcdef\n", "each line"),
        (b"\xff" * 20, "no text in ASCII"),
        (b"0123456789abcdef\n" * 4000, "more than 65536 bytes"),
    ],
)
def test_a_file_of_keys_that_cannot_be_read_or_guards_nothing_is_refused(tmp_path, content, message):
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"--api-key-file .*{message}"):
        api_keys.read(path)


def test_a_file_has_a_key_on_each_line(tmp_path):
    (tmp_path / "keys").write_text(f"{KEYS[0]}\r\n\n {KEYS[1]}")
    assert api_keys.read(tmp_path / "keys") == KEYS
