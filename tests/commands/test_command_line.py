"""The command line: its words, its messages and its exit codes."""

import dataclasses
import errno
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import __main__
from gendiff.commands import command_line, start
from gendiff.core.errors import CheckpointCorruptError, CheckpointMismatchError, ConfigError, DataError, NonFiniteError
from gendiff.runs import configuration, errors, interruption, registry, resume_command, run_lock
from gendiff.runs.reporting import figures, report, verdicts
from gendiff.runs.run_folder import RunFolder
from tests.tables import table

PROJECT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Network:
    width: int = 8
    """Channels of the first level."""


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of training."""
    train_steps: int = 5
    """Steps of training."""
    augment: bool = True
    """Mirror half of the images."""
    network: Network = Network()


def experiment(evaluate=None, train=None):
    def passes(config, folder, progress):
        return registry.Outcome(tuple(verdict(config.train_steps, seed) for seed in config.seeds))

    presets = {"full": Config(), "demo": Config(train_steps=3)}
    return registry.Experiment("bare", "Is it bare?", Config, presets, Config(train_steps=1), train, evaluate or passes)


def raising(error):
    """A stage of an experiment that fails."""

    def stage(*_):
        raise error

    return stage


def verdict(value, seed):
    return verdicts.claim("few", "few steps do", value, (value, value), "<=", 5.0, n=10, seed=seed)


def run(arguments, *experiments):
    return command_line.main(arguments.split(), {each.name: each for each in experiments or (experiment(),)})


def results(folder="runs/bare"):
    return json.loads(Path(folder, "results.json").read_text())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_list_shows_names_and_questions_and_help_explains_every_option(capsys):
    assert run("list") == 0
    assert "run bare               Is it bare?" in capsys.readouterr().out
    assert run("run bare --help") == 0
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in (
        "--train-steps INT",
        "Steps of training.",
        "--network.width INT",
        "Channels of the first level.",
        "--augment, --no-augment",
    ):
        assert text in output
    assert (
        "Mirror half of the images." in output
        and "--preset STR" in output
        and "Named configuration to begin with" in output
    )


def test_a_command_of_an_experiments_own_name_stands_beside_run_or_takes_its_place(capsys):
    def call(experiment, options, progress):
        print(f"{experiment.question} width {options.width}")

    command = registry.Command(Network, call)
    both = dataclasses.replace(experiment(), command=command)
    assert run("bare --width 9", both) == 0 and run("list", both) == 0
    output = capsys.readouterr().out
    assert f"{both.question} width 9" in output and re.search(
        r"  run bare +.*\[--preset demo\]\n  bare +the same by its own options", output
    ), output
    assert run("run bare --smoke", both) == 0
    alone = dataclasses.replace(both, runs=False)
    assert run("run bare", alone) == 2 and "has a command of its own" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="neither a command of its own"):
        dataclasses.replace(alone, command=None)


@pytest.mark.fault(
    "command line: unknown or misspelt option",
    "command line: wrong type",
    "command line: --seed outside 0…2³²−1",
    "command line: checkpoint path that is a file or URL",
)
@table(
    ("arguments", "hint"),
    [
        ("", "usage:"),
        ("rnu bare", "did you mean 'run'?"),
        ("run", "NAME is one of: bare"),
        ("run bear", "did you mean 'bare'?"),
        ("run bare --train-step 3", "--train-steps"),
        ("run bare --train-steps three", "--train-steps"),
        ("run bare --preset deom", "did you mean 'demo'?"),
        ("run bare --preset demo --smoke", "--smoke"),
        ("run bare --seed -1", "0 … 4294967295"),
        ("run bare --seed 4294967296", "0 … 4294967295"),
        ("run bare --seeds 1 1", "twice"),
        ("run bare --out gs://bucket/run", "is a URL"),
        ("run bare --resume oldest", "latest-valid"),
        ("report nowhere", "nowhere is no run folder"),
        ("sample", "RUN"),
    ],
)
def test_a_mistake_exits_2_with_a_hint_in_at_most_12_lines(arguments, hint, capsys):
    assert run(arguments) == 2
    output = capsys.readouterr()
    text = output.err if arguments else output.out
    assert hint in text and "Traceback" not in text
    assert len(output.err.splitlines()) <= command_line.MOST_LINES  # the usage on standard output is no message
    assert not list(Path().iterdir())


def test_a_typed_command_begins_with_its_own_preset_and_a_resume_says_the_others(monkeypatch, capsys):
    typed = dataclasses.replace(experiment(), name="images", typed="train", begins="demo")
    monkeypatch.setattr(command_line.builtin, "EXPERIMENTS", {"images": typed})
    for words, preset, resumed in (("train", "demo", "train"), ("run images", "full", "train --preset full")):
        folder = RunFolder(Path("runs", preset))
        assert run(f"{words} --seed 3 --out {folder.path}", typed) == 0
        stored = configuration.read(folder)
        assert stored.preset == preset
        assert f" {resumed} --seeds 3 --out" in resume_command.command(typed, stored, folder)


def test_a_preset_is_the_start_and_single_options_change_it():
    assert run("run bare --preset demo --network.width 16 --no-augment --seed 7") == 0
    stored = json.loads(Path("runs/bare/config.json").read_text())
    assert stored["config"] == {"seeds": [7], "train_steps": 3, "augment": False, "network": {"width": 16}}
    assert (stored["experiment"], stored["preset"], stored["smoke"]) == ("bare", "demo", False)


@pytest.mark.fault("command line: output folder of another config")
def test_a_finished_run_is_left_alone_and_another_configuration_is_refused(capsys):
    assert run("run bare") == 0
    before = {path.name: path.read_bytes() for path in Path("runs/bare").iterdir()}
    assert run("run bare", experiment(raising(AssertionError("a finished run is not evaluated again")))) == 0
    assert "finished already: PASS" in capsys.readouterr().out
    assert run("run bare --network.width 9") == 2
    message = capsys.readouterr().err
    assert "--out" in message and message.splitlines()[-1].split() == ["network.width", "8", "9"]
    assert {path.name: path.read_bytes() for path in Path("runs/bare").iterdir()} == before


def test_a_smoke_run_is_inconclusive_and_has_its_own_folder(capsys):
    assert run("run bare --smoke") == 0
    assert results("runs/bare-smoke")["verdict"] == "INCONCLUSIVE"
    assert "PASS" not in capsys.readouterr().out, "its numbers mean nothing"
    assert run("report runs/bare-smoke --strict") == 1


def test_a_failed_claim_exits_0_from_run_and_1_from_a_strict_report(capsys):
    assert run("run bare", experiment(lambda *_: registry.Outcome((verdict(9, 0),)))) == 0
    assert run("report runs/bare") == 0 and "FAIL" in capsys.readouterr().out
    assert run("report runs/bare --strict") == 1 and "exit 1 by --strict: few is FAIL" in capsys.readouterr().err
    assert run("run bare --out good") == run("report good --strict") == 0


@table("options", ["--train-steps 6", "--seed 0", "--preset demo --train-steps 6"])
def test_verdicts_belong_to_named_presets_only(options, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(f"run bare {options}") == 0
    message = capsys.readouterr().out
    assert (
        "few steps do" in message
        and "verdicts belong to the presets" in message
        and "PASS" not in message
        and "FAIL" not in message
    )
    assert results()["verdict"] == "NONE"
    page = Path("runs/bare/report.html").read_text().split("</style>")[1].split("<script>")[0]
    assert "few steps do" in page and 'class="badge' not in page
    assert run("report runs/bare --strict") == 1 and "this run has no verdict" in capsys.readouterr().err


def test_the_report_of_an_unfinished_run_shows_its_loss_and_samples(capsys):
    def stop(config, folder, progress):
        folder.append_metrics([{"seed": seed, "step": step, "loss": 1 / step} for seed in (0, 1) for step in (1, 2)])
        (folder.path / "samples").mkdir(exist_ok=True)
        figures.grid(np.zeros((1, 4, 4)), 1, folder.path / "samples" / "000000.png", "")
        raise errors.Preempted("SIGTERM")

    assert run("run bare", experiment(train=stop)) == 42
    capsys.readouterr()
    assert run("report runs/bare") == 0
    assert "has not finished" in (message := capsys.readouterr().out) and "preset" not in message
    page = Path("runs/bare/report.html").read_text()
    assert "seed 0 is at step 2; seed 1 is at step 2" in page and page.count("<img") == 2
    assert run("report runs/bare --strict") == 1
    folder = RunFolder(Path("runs/bare/critic"))
    folder.path.mkdir()
    folder.append_metrics([{"seed": 0, "step": 3, "reward": 1.0}])
    assert run("report runs/bare") == 0 and "critic, seed 0 is at step 3" in " ".join(capsys.readouterr().out.split())
    Path("runs/bare/samples/000000.png").write_bytes(b"no picture")
    assert run("report runs/bare") == 65
    assert re.search("samples/000000.png: not a whole PNG file .*: remove it", capsys.readouterr().err)
    Path("runs/bare/samples/000000.png").unlink()
    assert run("report runs/bare") == 0
    assert run("run bare") == 0
    assert not list(Path("runs/bare").glob("*_so_far.png"))


def test_a_report_needs_only_results_and_says_where_they_lack(capsys):
    assert run("run bare --out committed") == 0
    for path in Path("committed").iterdir():
        if path.name != "results.json":
            path.unlink()
    assert run("report committed --strict") == 0
    assert "<html" in Path("committed/report.html").read_text()
    Path("committed/results.json").unlink()
    assert run("report committed") == run("sample committed") == 65
    assert "config.json" in capsys.readouterr().err


def test_evaluate_computes_the_results_anew(capsys):
    assert run("run bare") == 0

    def worse(config, folder, progress):
        with progress.phase("judge"):
            return registry.Outcome(tuple(verdict(9, seed) for seed in config.seeds))

    assert run("evaluate runs/bare", experiment(worse)) == 0
    assert f"report: {Path('runs/bare/report.html').absolute()}" in capsys.readouterr().out.splitlines()[-1]
    assert results()["verdict"] == "FAIL" and set(results()["seconds"]) == {"judge"}


@pytest.mark.fault("evaluate on an unfinished run")
def test_evaluate_refuses_a_run_that_has_not_finished_and_names_the_command_that_goes_on(capsys):
    options = "--preset demo --train-steps 4 --network.width 9 --no-augment --seeds 5 6"
    assert (
        run(
            f"run bare {options} --out 'my-run'".replace("'", ""),
            experiment(train=raising(errors.Preempted("SIGTERM"))),
        )
        == 42
    )
    capsys.readouterr()
    assert run("evaluate my-run") == 2
    message = capsys.readouterr().err
    assert not Path("my-run/results.json").exists() and len(message.splitlines()) <= command_line.MOST_LINES
    goes_on = message.split("python -m experiments ")[1].strip()
    assert run(goes_on) == 0 and results("my-run")["config"]["network"] == {"width": 9}
    assert run("evaluate my-run") == 0


@pytest.mark.fault("evaluate on an unfinished run")
def test_evaluate_names_the_process_that_still_runs(capsys):
    assert run("run bare --out run", experiment(train=raising(errors.Preempted("SIGTERM")))) == 42
    with run_lock.held(Path("run").absolute()):
        assert run("evaluate run") == 2
    assert f"process {os.getpid()} on host" in (message := capsys.readouterr().err) and "goes on" not in message


@pytest.mark.fault("kill between results.json and report.html")
def test_a_report_that_a_kill_left_out_is_written_by_the_same_command(monkeypatch):
    assert run("run bare") == 0
    before = Path("runs/bare/report.html").read_bytes()
    for command in ("run bare", "evaluate runs/bare"):
        with monkeypatch.context() as patched, pytest.raises(SystemError):
            patched.setattr(report, "write", raising(SystemError("killed")))
            if command == "run bare":
                shutil.rmtree("runs/bare")
            run(command)
        assert results()["verdict"] == "PASS"  # and no report of before
        assert not Path("runs/bare/report.html").exists()
        assert run("run bare") == 0
        assert len(Path("runs/bare/report.html").read_bytes()) == pytest.approx(len(before), rel=0.01)


def test_an_impossible_configuration_leaves_no_folder_behind():
    assert run("run bare", experiment(train=raising(ConfigError("a batch of 9 is too large")))) == 2
    assert not Path("runs/bare").exists() and run("run bare") == 0


FAILURES = [
    *(
        (NonFiniteError("loss"), 3),
        (errors.Preempted("SIGTERM at step 3"), 42),
        (KeyboardInterrupt(), 42),
        (errors.DeviceError("no cuda"), 69),
    ),
    *(
        (error, 65)
        for error in (
            DataError("file: broken"),
            CheckpointCorruptError("step 3"),
            CheckpointMismatchError("many\n" * 50),
        )
    ),
    (OSError(errno.ENOSPC, "No space left on device", "runs"), 74),
    (OSError(errno.EDQUOT, "Disk quota exceeded", "runs"), 74),
    *((OSError(number, os.strerror(number), "runs"), 2) for number in (errno.EROFS, errno.ENOTDIR, errno.EISDIR)),
]


@pytest.mark.fault("disk full")
@table(("error", "code"), FAILURES)
def test_each_kind_of_failure_has_its_exit_code(error, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("run bare", experiment(train=raising(error))) == code
    message = capsys.readouterr().err
    assert message and len(message.splitlines()) <= command_line.MOST_LINES
    assert code != 74 or "bytes are free" in message
    assert run("run bare") == 0  # nothing holds the folder


def test_an_unforeseen_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run("run bare", experiment(train=raising(ZeroDivisionError())))


@pytest.mark.fault("devices: several processes where one is served")
def test_several_processes_are_refused_at_once(monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert run("run bare") == 2
    assert "JAX spans 2 processes" in capsys.readouterr().err
    assert not Path("runs/bare").exists()


@pytest.mark.fault("two jobs, one run folder")
def test_a_run_in_use_is_refused_with_host_and_process(capsys):
    def meanwhile(*_):
        assert run("run bare") == 2
        assert f"in use by process {os.getpid()} on host" in capsys.readouterr().err

    assert run("run bare", experiment(train=meanwhile)) == 0


@pytest.mark.fault("SIGTERM while evaluating")
@table("number", interruption.SIGNALS)
def test_a_signal_while_evaluating_exits_42_and_handlers_come_back(number, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(number)

    def evaluate(*_):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal comes first")

    assert run("run bare", experiment(evaluate)) == 42
    assert signal.Signals(number).name in capsys.readouterr().err
    assert signal.getsignal(number) is before
    assert run("run bare") == 0


def python(*arguments, **environment):
    """A process of its own, which has ended."""
    variables = os.environ | {"PYTHONPATH": str(PROJECT)} | environment
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=PROJECT, env=variables)


@pytest.mark.fault("nobody reads what is printed")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "output", "code"),
    [("list", "closed", 141), ("list --help", "closed", 141), ("lst", "closed", 2), ("list", "/dev/full", 74)],
)
def test_a_command_that_nobody_reads_ends_shortly_by_a_code_of_its_own(words, output, code):
    read, write = os.pipe()
    os.close(read)
    stdout = write if output == "closed" else os.open(output, os.O_WRONLY)
    command = [sys.executable, "-m", "experiments", *words.split()]
    ended = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=PROJECT, check=False)
    os.close(write)
    assert ended.returncode == code and len(ended.stderr.splitlines()) == (code != 141), ended.stderr


@pytest.mark.slow
def test_without_packages_it_says_make_setup():
    bare = python("-S", "-m", "experiments", "list")
    assert (
        bare.returncode == 2
        and len(bare.stderr.splitlines()) == 1
        and "make setup" in bare.stderr
        and "tyro" in bare.stderr
    )


def test_one_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert __main__.main() == 2
    assert "lacks tyro: run `make setup`" in capsys.readouterr().err


def test_an_interrupted_command_ends_without_the_end_of_the_interpreter(monkeypatch):
    """XLA still computes what was cut short, and crashed there: the exit code was 139 in place of 42."""
    ended = []
    monkeypatch.setattr(start, "leave_when_asked", lambda: None)
    monkeypatch.setattr(start.os, "_exit", ended.append)
    for code in (0, 42):
        monkeypatch.setattr(command_line, "main", lambda *_, code=code: code)
        assert start.main("gendiff.commands.catalogue", str) == code
    assert ended == [42]


@pytest.mark.fault("devices: missing CUDA plug-in")
@pytest.mark.slow
def test_a_missing_platform_exits_69_with_a_hint(tmp_path):
    ended = python(
        "-m", "tests.runs.toy", "run", "toy", "--smoke", "--out", str(tmp_path / "run"), JAX_PLATFORMS="cuda"
    )
    assert ended.returncode == 69, ended.stderr
    assert "extra [cuda12]" in ended.stderr and "Traceback" not in ended.stderr


def test_quiet_shows_the_results_only_and_version_the_versions(capsys):
    assert run("run bare --quiet") == 0
    assert capsys.readouterr().out.startswith("bare: PASS")
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith(f"python {platform.python_version()}, gendiff ")


@pytest.mark.fault("command line: a path of a user whom there is not")
@table(
    "words",
    [
        "verify ~nosuch/x.png",
        "inspect ~nosuch",
        "chat --model ~nosuch --prompt x",
        "text-to-image --prompt x --model ~nosuch",
        "data-report ~nosuch",
        "copies ~nosuch --train ~nosuch",
        "scaling-fit --data x.csv --out ~nosuch",
        "train ~nosuch",
    ],
)
def test_a_path_of_a_user_whom_there_is_not_is_refused(words, capsys):
    assert command_line.main(words.split(), {}) == 2
    assert "~nosuch" in (message := capsys.readouterr().err) and "knows no user of that name" in message
