"""How many files of gendiff.commands a reader passes between a command line and the first picture: those whose
functions ran.
"""

import os
import subprocess
import sys

import pytest
from PIL import Image

MOST = {"text-to-image": 12, "sample": 12, "train": 17}
"""`train` has five more: what it refuses before JAX loads, and what it costs, stand in light files of their own."""
PROFILED = """
import inspect, runpy, sys
from pathlib import Path

import gendiff

commands, first, files = Path(gendiff.__file__).parent / "commands", Path(sys.argv.pop(1)), set()


def imports(frame):
    while frame is not None and frame.f_code.co_name != "_find_and_load":
        frame = frame.f_back
    return frame is not None


def note(frame, event, argument):
    code = frame.f_code
    if event == "return" and code.co_name == "grid" and code.co_filename.endswith("figures.py") and not first.exists():
        first.write_text(" ".join(sorted(files)))
        sys.setprofile(None)
    called = event == "call" and code.co_filename.startswith(str(commands))
    if called and code.co_flags & inspect.CO_OPTIMIZED and not imports(frame):
        files.add(str(Path(code.co_filename).relative_to(commands)))


sys.setprofile(note)
runpy.run_module("gendiff", run_name="__main__")
"""
"""Runs a command, and leaves in a file which files it had passed when the first picture was written."""


@pytest.mark.slow
@pytest.mark.timeout(900)  # three cold processes, whose calls are counted
def test_a_command_passes_few_files_of_its_floor_on_its_way_to_the_first_picture(tmp_path):
    photos, run = tmp_path / "photos", str(tmp_path / "run")
    photos.mkdir()
    for number in range(30):
        Image.new("RGB", (16, 16), (8 * number, 100, 255 - 8 * number)).save(photos / f"{number}.png")
    walks = {
        "text-to-image": (
            "text-to-image",
            "--prompt",
            "sun",
            "--num",
            "1",
            "--steps",
            "2",
            "--out",
            str(tmp_path / "sun.png"),
        ),
        "train": ("train", str(photos), "--smoke", "--out", run),
        "sample": ("sample", run, "--num", "1", "--steps", "2"),
    }
    passed = {}
    for name, words in walks.items():
        program, file = (sys.executable, "-c", PROFILED), tmp_path / f"{name}.txt"
        subprocess.run([*program, str(file), *words], check=True, capture_output=True, env=os.environ, timeout=600)
        passed[name] = file.read_text().split()
    assert {"start.py", "command_line.py", "drawing_programs.py"} <= set.intersection(*map(set, passed.values()))
    assert "train/preview.py" in passed["train"]
    assert all(len(files) <= MOST[name] for name, files in passed.items()), passed
