"""What a person sees of a run: rates, the time that is left, lines now and then, and seconds of stages, by a clock that
the test moves.
"""

import io
import json
import os
import time

import pytest

from gendiff.core.errors import DataError
from gendiff.runs import goodput, progress
from gendiff.runs.progress import LINE_EVERY, WINDOW, Progress
from gendiff.runs.run_folder import RunFolder


@pytest.fixture
def clock(monkeypatch):
    """Its first entry is the time."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_rate_is_measured_from_the_first_update_on_and_over_no_less_than_a_window():
    rate = progress.Rate()
    assert [rate.update(100 + second, 2 * second) for second in (0, 1, 2)] == [0, 2, 2]  # what came before took 100 s
    for second in range(200):
        last = rate.update(102 + second, 4 + second)
    assert last == 1
    rate = progress.Rate()
    rate.update(0.0, 0)
    rate.update(WINDOW - 10, 100)
    assert rate.update(WINDOW + 10, 1000) == 1000 / (WINDOW + 10)  # the second update is too young to begin with
    assert rate.update(2 * WINDOW - 9, 2000) == 1900 / (WINDOW + 1)


def test_a_line_comes_now_and_then_and_says_what_is_left(clock):
    stream = io.StringIO()
    with Progress(stream).task("train", 100) as task:
        for done in range(0, 101, 10):
            task.update(done, f"loss {done}")
            clock[0] += LINE_EVERY / 2
    assert stream.getvalue().splitlines() == [
        "train: 20/100 loss 20 (2.0/s, 40 s left)",
        "train: 40/100 loss 40 (2.0/s, 30 s left)",
        "train: 60/100 loss 60 (2.0/s, 20 s left)",
        "train: 80/100 loss 80 (2.0/s, 10 s left)",
        "train: 100/100 loss 100 (2.0/s)",
    ]


def test_the_seconds_of_a_stage_add_up_and_those_of_one_that_failed_are_kept_and_not_shown(clock, tmp_path):
    stream, timings = io.StringIO(), tmp_path / "timings.jsonl"
    progress = Progress(stream, timings)
    for seconds in (3, 4):
        with progress.phase("judge"):
            clock[0] += seconds
    with pytest.raises(RuntimeError), progress.phase("judge", seed=1):
        clock[0] += 5
        raise RuntimeError
    assert progress.seconds == {"judge": 12.0} and stream.getvalue().splitlines() == ["judge: 3.0 s", "judge: 4.0 s"]
    assert json.loads(timings.read_text().splitlines()[-1]) == {"phase": "judge", "seed": 1, "seconds": 5.0}


def test_a_broken_line_of_times_is_told_of_and_a_torn_last_one_is_not(tmp_path):
    timings, notes = tmp_path / "timings.jsonl", []
    good = '{"phase": "train", "seconds": 2.0}\n'
    for broken, wrong in (
        ("", 0),
        ("{\n", 1),
        ('{"phase": "train", "seconds": -1}\n', 1),
        ('{"phase": "train", "seconds": NaN}\n', 1),
    ):
        timings.write_text(good + broken + good + '{"phase": "train", "sec')
        notes.clear()
        assert progress.stage_seconds(timings, "train", notes.append) == 4.0
        assert [f"{timings}: line 2 is broken" in note for note in notes] == [True] * wrong


@pytest.mark.fault("files: a folder, a pipe or a device in place of a file")
def test_times_in_a_pipe_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "timings.jsonl")
    for read in (
        lambda: progress.stage_seconds(tmp_path / "timings.jsonl", "train"),
        lambda: goodput.tables(RunFolder(tmp_path)),
    ):
        with pytest.raises(DataError, match="timings.jsonl: not a regular file"):
            read()


def test_a_stage_within_a_stage_is_counted_once(tmp_path):
    timings = tmp_path / "timings.jsonl"
    for _ in range(2):
        stages = Progress(io.StringIO(), timings=timings)
        with stages.phase("train"):
            for seed in (0, 1):
                with stages.phase("train", seed=seed):
                    time.sleep(0.01)
        assert set(stages.seconds) == {"train"} and 0.02 <= stages.seconds["train"]
    outer = sum(line["seconds"] for line in map(json.loads, timings.read_text().splitlines()) if "seed" not in line)
    with open(timings, "a") as file:
        file.write('{"phase": "train", "sec')
    assert progress.stage_seconds(timings, "train") == pytest.approx(outer)


def test_a_terminal_gets_a_bar_and_anything_else_plain_lines():
    terminal, file = io.StringIO(), io.StringIO()
    terminal.isatty = lambda: True
    for stream in (terminal, file):
        progress = Progress(stream)
        with progress.phase("train"), progress.task("train", 3) as task:
            for done in (1, 2, 3):
                task.update(done, f"loss 0.{done}")
            progress.line("[half] done")
        assert "[half] done" in stream.getvalue() and "/s" in stream.getvalue() and progress.seconds["train"] >= 0
    assert "━" in terminal.getvalue()
    assert "\x1b" not in file.getvalue() and "train: 3/3 loss 0.3" in file.getvalue()
