"""Disks that are full or may not be written: a short typed error, and nothing that was there is lost."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gendiff.commands import command_line
from gendiff.runs.run_folder import RunFolder
from tests.runs import toy
from tests.runs.test_resume import assert_same_run, finished, start
from tests.tables import table

TRAINING = ("run", "toy", "--train-steps", "16", "--checkpoint-every", "4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "toy"
    assert command_line.main(["run", "toy", "--smoke", "--out", str(folder)], {"toy": toy.EXPERIMENT}) == 0
    return folder


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """An undisturbed run of TRAINING."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert command_line.main([*TRAINING, "--out", str(folder)], {"toy": toy.EXPERIMENT}) == 0
    return folder


@contextlib.contextmanager
def mounted(folder, *options):
    """Within: a file system of its own at the folder. Needs the right to mount."""
    folder.mkdir(exist_ok=True)
    mount = (
        subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if shutil.which("mount")
        else None
    )
    if mount is None or mount.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mount and mount.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def read_only(trained, tmp_path):
    """A finished run in which nothing may be written."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    if os.geteuid():
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
    else:  # to whom no mode forbids anything
        with mounted(folder, "--bind", str(folder)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
            yield folder


@pytest.mark.fault("read-only or absent output folder")
@table(
    "words",
    [
        ("run", "toy", "--smoke", "--out", "RUN"),
        ("run", "toy", "--out", "RUN/below"),
        ("evaluate", "RUN"),
        ("report", "RUN"),
        ("sample", "RUN", "--num", "2"),
        ("sample", "RUN", "--num", "2", "--out", "RUN/grid.png"),
        ("sample", "RUN", "--num", "2", "--out", "/nowhere/grid.png"),
        ("sample", "RUN", "--num", "2", "--shard-size", "2", "--out", "RUN/shards"),
    ],
)
def test_what_may_not_be_written_is_said_at_once(words, read_only, capsys):
    before = sorted(path.name for path in read_only.iterdir())
    assert command_line.main([word.replace("RUN", str(read_only)) for word in words], {"toy": toy.EXPERIMENT}) == 2
    output = capsys.readouterr()
    assert (
        any(word in output.err for word in ("not writable", "cannot be made", "Read-only"))
        and "compiling" not in output.out
    )
    assert len(output.err.splitlines()) <= command_line.MOST_LINES
    assert sorted(path.name for path in read_only.iterdir()) == before


def test_samples_of_a_run_that_may_not_be_written_go_elsewhere(read_only, tmp_path):
    out = str(tmp_path / "grid.png")
    assert (
        command_line.main(
            ["sample", str(read_only), "--num", "2", "--steps", "2", "--out", out], {"toy": toy.EXPERIMENT}
        )
        == 0
    )


@pytest.mark.fault("disk full", "a checkpoint's folder cannot be made")
@pytest.mark.slow
@pytest.mark.parametrize("size", ["40k", "100k"])
def test_a_full_disk_ends_a_run_with_74_and_it_goes_on_when_there_is_space(size, complete, tmp_path):
    with mounted(tmp_path / "tiny", "-t", "tmpfs", "-o", f"size={size}", "tmpfs") as tiny:
        ended = subprocess.run(
            [sys.executable, str(Path(toy.__file__)), *TRAINING, "--out", str(tiny / "run")],
            capture_output=True,
            text=True,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert ended.returncode == 74, ended.stderr
        assert "No space left" in ended.stderr and str(tiny) in ended.stderr and " free" in ended.stderr
        assert len(ended.stderr.splitlines()) <= command_line.MOST_LINES and "Traceback" not in ended.stderr
        steps = [path.name for path in (tiny / "run" / "checkpoints" / "seed_0").glob("*")]
        assert all(name.isdecimal() for name in steps), steps
        assert not list(tiny.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(tiny)], check=True)
        finished(start([*TRAINING, "--out", str(tiny / "run")]))
        assert_same_run(complete, tiny / "run")


@pytest.mark.fault("disk full")
def test_a_full_disk_while_sampling_is_74_and_names_the_file(trained, tmp_path, capsys):
    with mounted(tmp_path / "tiny", "-t", "tmpfs", "-o", "size=16k", "tmpfs") as tiny:
        words = ("sample", str(trained), "--num", "40", "--steps", "2", "--out")
        for out in (tiny / "samples", tiny / "arrays.npz"):
            assert command_line.main([*words, str(out)], {"toy": toy.EXPERIMENT}) == 74
            message = capsys.readouterr().err
            assert str(tiny) in message and "bytes are free" in message and len(message.splitlines()) == 1
            assert not [path for path in tiny.rglob(".*") if path.is_file()]
    assert RunFolder(trained).results.exists()
