"""Kill -9 and signals at moments that nobody chose: nothing is lost, and what is left ends bitwise as if nothing had
happened.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gendiff.commands import command_line
from gendiff.runs import devices, goodput, training_loop
from tests.commands.images import test_images
from tests.runs import toy
from tests.runs.test_resume import assert_same_run, finished, start

PROJECT = Path(__file__).parents[2]
KILLS = 22
PHOTO_KILLS = int(os.environ.get("GENDIFF_PHOTO_KILLS", "4"))
"""Each comes after up to half of the time of an unbroken run."""
TRAINING = ("run", "toy", "--train-steps", "1200", "--checkpoint-every", "20", "--seeds", "3")
LIVES = """
import json, os, random, signal, sys, time
from gendiff.commands import command_line
from gendiff.runs import training_loop
from gendiff.commands.images import image_sampling
from tests.runs import toy

words, kills, seed, longest, pause, watched, growth = json.loads(sys.argv[1])
draw, killed = random.Random(seed), 0
files = lambda: len(os.listdir(watched)) if os.path.isdir(watched) else 0
while True:
    enough = files() + draw.randint(1, growth)
    process = os.fork()  # nothing of JAX runs in the parent, which has only imported it
    if process == 0:
        os.environ["TOY_PAUSE"] = pause if killed < kills else "0"
        os._exit(command_line.main(words, {"toy": toy.EXPERIMENT}))
    end = time.monotonic() + draw.uniform(0.2, longest)
    ended = lambda: os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    while killed < kills and time.monotonic() < end and files() < enough and not ended():
        time.sleep(0.01)
    if killed < kills:
        os.kill(process, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code != -signal.SIGKILL:
        print("ended", code, "after", killed, flush=True)
        sys.exit(code)
    killed += 1
"""


def lives(words, kills, longest, pause="0", seed=None, watched="", growth=1):
    """How many processes of a command were killed before one ended; seed None: other moments every time.

    Each is killed after up to `longest` seconds, or once the folder `watched` has grown by up to `growth` files.
    """
    chosen = random.SystemRandom().randrange(2**31) if seed is None else seed
    settings = json.dumps([list(words), kills, chosen, longest, pause, str(watched), growth])
    everything = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(PROJECT)}
    words = [sys.executable, "-W", "ignore", "-c", LIVES, settings]
    ended = subprocess.run(words, capture_output=True, text=True, env=everything, timeout=800 + kills * longest)
    assert ended.returncode == 0, f"moments of seed {chosen}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
    return int(ended.stdout.split("after ")[-1])


@pytest.mark.fault("kill -9 anywhere, then resume", "kill -9 during save")
@pytest.mark.slow
def test_a_run_killed_more_than_twenty_times_ends_bitwise_as_an_undisturbed_one(tmp_path):
    undisturbed = start([*TRAINING, "--out", str(tmp_path / "whole")])
    assert lives([*TRAINING, "--out", str(tmp_path / "killed")], KILLS, 3.0, "0.02") == KILLS
    finished(undisturbed)
    assert_same_run(tmp_path / "whole", tmp_path / "killed", (3,))
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 1201)]
    assert not list((tmp_path / "killed").rglob("*tmp*"))


@pytest.mark.fault("batch sampling interrupted", "kill -9 anywhere, then resume")
@pytest.mark.slow
def test_a_sharded_draw_that_is_killed_again_and_again_leaves_the_bytes_of_an_undisturbed_one(tmp_path):
    run = tmp_path / "run"
    assert command_line.main(["run", "toy", "--smoke", "--out", str(run)], {"toy": toy.EXPERIMENT}) == 0
    words = ("sample", str(run), "--num", "10000", "--shard-size", "50", "--together", "50", "--steps", "20", "--out")
    assert lives([*words, str(tmp_path / "whole")], 0, 1.0) == 0
    assert lives([*words, str(tmp_path / "killed")], 6, 60.0, watched=tmp_path / "killed", growth=60) == 6
    parts = [
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("shard_*.npz")} for name in ("whole", "killed")
    ]
    assert parts[0] == parts[1] and len(parts[0]) == 200
    assert not list((tmp_path / "killed").glob(".*.tmp"))


@pytest.mark.fault("kill -9 anywhere, then resume")
@pytest.mark.slow
@pytest.mark.timeout(900 + 90 * PHOTO_KILLS)
def test_a_training_on_photographs_that_is_killed_again_and_again_ends_bitwise_as_an_undisturbed_one(tmp_path):
    pytest.importorskip("grain")
    photos = test_images.photographs(tmp_path / "photos", damaged=0)
    folders = [tmp_path / name for name in ("whole", "killed")]
    steps = str(15 * PHOTO_KILLS)
    unbroken, killed = (
        test_images.command(photos, folder, "--steps", steps, "--checkpoint-every", "5", "--preview-every", "30")
        for folder in folders
    )
    begin = time.monotonic()
    assert lives(unbroken, 0, 0.2) == 0
    longest = min(0.5, 4 / PHOTO_KILLS) * (time.monotonic() - begin)
    assert lives(killed, PHOTO_KILLS, longest) >= PHOTO_KILLS * 2 // 3  # those that live long may end it sooner
    assert_same_run(*folders)
    names = [{path.name for path in folder.glob("*.png")} for folder in folders]
    assert names[0] == names[1] and len(names[0]) > 5
    assert not [name for name in names[0] if len({(folder / name).read_bytes() for folder in folders}) > 1]
    tables = [json.loads((folder / "results.json").read_text())["tables"] for folder in folders]
    # times differ, and a process that was killed left none
    unbroken_tables, killed_tables = ([each for each in part if each["title"] != goodput.TITLE] for part in tables)
    assert unbroken_tables == killed_tables and len(unbroken_tables) > 3
    assert not list(folders[1].rglob("*.tmp"))


@pytest.mark.fault("SIGTERM while compiling")
def test_a_signal_while_compiling_exits_42_and_the_same_command_goes_on(tmp_path, monkeypatch, capsys):
    words = ["run", "toy", "--train-steps", "3", "--log-every", "1", "--out", str(tmp_path / "run")]
    compiled = devices.compiled

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return compiled(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(devices, "compiled", interrupted)
        patched.setattr(training_loop, "LONG", 0.0)
        assert command_line.main(words, {"toy": toy.EXPERIMENT}) == 42
    out, errors = capsys.readouterr()
    assert "--compile-cache FOLDER keeps it" in out
    assert (
        "SIGTERM at step 0 of seed 0: none of its steps had been finished" in errors
        and not (tmp_path / "run" / "results.json").exists()
    )
    assert command_line.main(words, {"toy": toy.EXPERIMENT}) == 0
    assert [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == [
        1,
        2,
        3,
    ]


@pytest.mark.fault("the clock of the machine jumps")
def test_a_run_whose_clock_jumps_by_years_all_the_time_is_bitwise_another_one_once_the_clock_is_right(
    tmp_path, monkeypatch
):
    """A jump while a checkpoint is saved may look like a save that takes years, which is given up."""

    def run(name):
        words = ["run", "toy", "--train-steps", "4", "--checkpoint-every", "2", "--log", "none"]
        return command_line.main([*words, "--out", str(tmp_path / name)], {"toy": toy.EXPERIMENT})

    assert run("whole") == 0
    draw = random.Random(0)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: draw.uniform(0, 2**32))
        assert run("jumping") in (0, 74)
    assert run("jumping") == 0
    assert_same_run(tmp_path / "whole", tmp_path / "jumping")


def waited(process, condition):
    """Until the condition holds, which it does before the process ends."""
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


@pytest.mark.fault("SIGTERM at a step", "SIGTERM while evaluating", "SIGTERM while compiling", "a second signal")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "pause", "codes"),
    [
        ("config.json", "0.01", {42}),
        ("metrics.jsonl", "0.01", {42}),
        ("judging", "0", {42}),
        ("metrics.jsonl", "60", {143, 138}),
    ],
    ids=["compiling", "at a step", "evaluating", "twice"],
)
def test_a_process_ends_with_a_documented_code_after_signals_and_the_command_goes_on(sign, pause, codes, tmp_path):
    words = ["run", "toy", "--train-steps", "200", "--out", str(tmp_path / "run")]
    process = start(words, TOY_PAUSE=pause, TOY_PAUSE_JUDGE="60")
    waited(process, (tmp_path / "run" / sign).exists)
    process.send_signal(signal.SIGTERM)
    if 42 not in codes:
        time.sleep(0.2)
        assert process.poll() is None  # it would finish its step first
        process.send_signal(signal.SIGUSR1)
    message = process.communicate(timeout=60)[0]
    assert process.returncode in codes and "Traceback" not in message, (process.returncode, message)
    finished(start(words))
    steps = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 201)]
