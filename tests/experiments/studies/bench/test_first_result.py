"""Waits are typed as a person types them, and what does not come is an error."""

import dataclasses

import pytest

from experiments.bench import first_result
from experiments.bench.first_result import BARE, EXPERIMENT, FIRST, RESULTS, SECOND, STARTS, WAITS, Typist, Wait
from gendiff.core.errors import ConfigError, GendiffError
from gendiff.runs.reporting.environment import PROJECT
from tests.tables import table

SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
import time

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/images/generations"
        time.sleep(0.3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.rfile.read(int(self.headers["Content-Length"])))

server = HTTPServer(("127.0.0.1", 0), Handler)
print(f"compiled; http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
"""
KEEPS = """
import os, pathlib, sys
program = pathlib.Path(os.environ["XDG_CACHE_HOME"], "program")
with open("uses", "a") as uses:
    uses.write(f"{program.exists()} {sys.dont_write_bytecode}\\n")
program.parent.mkdir(exist_ok=True)
program.touch()
"""


@pytest.fixture
def typist(tmp_path):
    return Typist(tmp_path, tmp_path / "place", tmp_path / "models")


@pytest.fixture
def typed(typist, monkeypatch):
    """typed(wait, use) of a wait of the test's own."""

    def call(wait, use=SECOND):
        monkeypatch.setitem(WAITS, "own", wait)
        return typist.typed("own", use)

    return call


def test_a_first_use_finds_no_program_and_a_second_one_what_the_first_has_left(typed, tmp_path):
    (tmp_path / "keeps.py").write_text(KEEPS)
    for use in (FIRST, SECOND, FIRST, BARE):
        typed(Wait("keeps.py"), use)
    assert (tmp_path / "uses").read_text().split("\n") == ["False False", "True False", "False False", "True True", ""]


def test_seconds_are_those_until_the_result_and_seconds_of_processors_are_apart(typed, tmp_path):
    seconds, processors = typed(Wait("-c 'import time; time.sleep(0.3)'"))
    assert seconds > 0.3 > processors > 0
    (tmp_path / "server.py").write_text(SERVER)
    seconds, processors = typed(Wait("server.py", request={"prompt": "cat"}))
    assert seconds > 0.3 and processors > 0


@table(
    ("wait", "message"),
    [
        (Wait("-c 'raise ValueError(3)'"), "has ended with 1: .*ValueError: 3"),
        (Wait("-c pass", status=2), "has ended with 0"),
        (Wait("-c 'raise ValueError(4)'", request={}), "the server has ended: .*ValueError: 4"),
    ],
)
def test_what_does_not_come_is_an_error(typed, wait, message):
    with pytest.raises(GendiffError, match=f"(?s){message}"):
        typed(wait)


def test_what_a_wait_reads_is_prepared_once(typist, monkeypatch, tmp_path):
    monkeypatch.setitem(WAITS, "own", Wait("-c pass", prepared="-c 'import os; os.makedirs(\"{run}\"); print(1)'"))
    for _ in range(2):
        typist.prepare("own")
    assert typist.run_folder.is_dir() and typist.count == 1


@table(
    ("changed", "message"),
    [
        ({"waits": ("--hlep",)}, "--waits '--hlep' is unknown; did you mean '--help'"),
        ({"commit": "0" * 40}, f"--commit {'0' * 40}: git in .* does not know it"),
    ],
)
def test_unknown_waits_and_commits_are_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        EXPERIMENT.check(dataclasses.replace(EXPERIMENT.smoke, **changed))


def test_the_files_of_a_commit_are_a_checkout(tmp_path):
    path = first_result._checkout("HEAD", tmp_path / "earlier")
    assert (path / "gendiff" / "__main__.py").is_file() and not (path / ".git").exists()
    assert path == first_result._checkout("HEAD", path) and (PROJECT / ".git").exists()


def test_every_wait_has_its_aims():
    rows = {(row.set, row.measure): row.threshold for row in first_result._claims()}
    for name, wait in STARTS.items():
        assert rows[f"{name}, {SECOND}", "seconds"] * 2 == rows[f"{name}, {BARE}", "seconds"] == 2 * wait.aim
    assert len(rows) == 2 * len(WAITS) and all(rows[f"{name}, {FIRST}", "share"] == 0.7 for name in RESULTS)
