"""The run folder: atomic files, metrics that survive a torn line, and one process at a time."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from experiments.framework import configuration, run_folder, run_lock
from experiments.framework.run_folder import RunFolder
from gendiff.core.errors import ConfigError, DataError

LINES = [{"seed": seed, "step": step, "loss": 0.1 * step} for seed in (0, 1) for step in (1, 2, 3)]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return run_folder.create(tmp_path / "run")


def test_metrics_come_back_as_they_were_written_and_by_seed(folder: RunFolder) -> None:
    folder.append_metrics(LINES[:3])
    folder.append_metrics(LINES[3:])
    assert folder.read_metrics() == LINES
    assert folder.read_metrics(1) == LINES[3:]


def test_numbers_that_are_not_finite_come_back_as_floats(folder: RunFolder) -> None:
    folder.append_metrics([{"seed": 0, "step": 1, "loss": float("inf"), "norm": float("nan")}])
    (line,) = folder.read_metrics()
    assert line["loss"] == float("inf") and line["norm"] != line["norm"]


@pytest.mark.parametrize("torn", [b'{"seed": 0, "st', b'{"seed": 0, "st\n', b"\x00\x00\n"])
def test_a_torn_last_line_is_ignored_by_readers_and_removed_by_truncation(folder: RunFolder, torn: bytes) -> None:
    folder.append_metrics(LINES[:3])
    whole = folder.metrics.read_bytes()
    folder.metrics.write_bytes(whole + torn)
    assert folder.read_metrics() == LINES[:3]
    folder.truncate_metrics(0, 3)
    assert folder.metrics.read_bytes() == whole


def test_a_broken_line_within_is_an_error_with_its_number(folder: RunFolder) -> None:
    folder.metrics.write_text('{"seed": 0, "step": 1}\nbroken\n{"seed": 0, "step": 3}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl: line 2 is broken"):
        folder.read_metrics()


def test_truncation_touches_one_seed_and_later_steps_only(folder: RunFolder) -> None:
    folder.append_metrics(LINES)
    folder.truncate_metrics(1, 1)
    assert folder.read_metrics() == LINES[:4]


def test_a_run_folder_is_refused_where_it_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for bad, reason in ((file, "is a file"), ("gs://bucket/run", "is a URL"), (file / "below", "cannot be made")):
        with pytest.raises(ConfigError, match=reason):
            run_folder.create(bad)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"thesis\.tex but no config\.json"):
        run_folder.create(tmp_path / "other")


def test_another_configuration_is_refused_with_a_table(folder: RunFolder) -> None:
    first = configuration.Resolved("toy", "full", False, {"steps": 3, "network": {"width": 8, "depth": 2}})
    assert configuration.settle(folder, first) == first
    assert configuration.settle(folder, first) == first
    with pytest.raises(ConfigError, match="--out") as caught:
        configuration.settle(folder, configuration.Resolved("toy", "demo", False, {"steps": 4, "network": {"width": 8, "depth": 3}}))
    lines = str(caught.value).splitlines()
    assert [line.split() for line in lines[1:]] == [["setting", "stored", "wanted"], ["network.depth", "2", "3"], ["steps", "3", "4"]]


@pytest.mark.parametrize("seeds", [(-1,), (2**32,), (3, 3)])
def test_seeds_that_alias_are_refused(seeds: tuple[int, ...]) -> None:
    class Config:
        pass

    config = Config()
    config.seeds = seeds  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="--seed"):
        configuration.seeds(config)


def test_a_held_lock_names_its_owner_and_goes_with_it(folder: RunFolder) -> None:
    lock = folder.path / run_folder.LOCK_NAME
    with run_lock.held(folder.path):
        owner = json.loads(lock.read_text())
        assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
        with pytest.raises(ConfigError, match=f"process {os.getpid()} on host {socket.gethostname()}"), run_lock.held(folder.path):
            pass
        assert json.loads(lock.read_text()) == owner
    assert not lock.exists()


def test_the_lock_of_a_dead_process_is_taken_over(folder: RunFolder) -> None:
    script = (
        f"import os\nfrom pathlib import Path\nfrom experiments import run_lock\n"
        f"lock = run_lock.held(Path({str(folder.path)!r}))\nlock.__enter__()\nprint(os.getpid())\nos._exit(9)"
    )
    dead = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    lock = folder.path / run_folder.LOCK_NAME
    assert json.loads(lock.read_text())["pid"] == int(dead.stdout)
    with run_lock.held(folder.path):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_a_process_number_that_was_given_away_again_is_dead(folder: RunFolder) -> None:
    lock = folder.path / run_folder.LOCK_NAME
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getppid(), "born": "long ago", "start": "2000"}))
    with run_lock.held(folder.path):
        pass


def test_the_lock_of_another_host_is_respected(folder: RunFolder) -> None:
    lock = folder.path / run_folder.LOCK_NAME
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": None, "start": "2000"}))
    with pytest.raises(ConfigError, match="process 1 on host elsewhere since 2000"), run_lock.held(folder.path):
        pass


def test_of_many_that_find_a_dead_owner_one_gets_the_lock(folder: RunFolder) -> None:
    lock = folder.path / run_folder.LOCK_NAME
    lock.write_text(json.dumps({"host": socket.gethostname(), "pid": 2**22 + 1, "born": "1", "start": "2000"}))
    together, done = threading.Barrier(8), threading.Barrier(8)
    got: list[bool] = []

    def contend() -> None:
        together.wait()
        try:
            with run_lock.held(folder.path):
                got.append(True)
                done.wait(timeout=20)
        except ConfigError:
            got.append(False)
            done.wait(timeout=20)

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]
