"""Every command that draws: what it shares with the others has one help text, and is refused in one way."""

import dataclasses
import importlib
import math
import re

import pytest
import tyro

from experiments.catalogue import EXPERIMENTS
from gendiff.commands import drawing_options
from gendiff.commands.catalogue import TOOLS
from gendiff.commands.drawing_options import DrawingOptions, RunOptions, SteppedOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import registry
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

WITHOUT_NOISE = {"serve"}
"""Commands whose requests say which samples are drawn."""
WRONG = {
    "num": (0, "--num 0 (must be at least 1|is outside 1)"),
    "seed": (2**32, "--seed 4294967296 is outside 0 … 4294967295"),
    "trained_seed": (2**31, "--trained-seed 2147483648 is none of --seeds"),
    "steps": (0, "--steps 0 (must be at least 1|is outside 1)"),
    "together": (0, "--together 0 (must be at least 1|is outside 1)"),
    "guidance": (math.nan, r"--guidance nan is outside \[0, inf\)"),
}
"""Shared option -> a value out of its range, and what is said of it."""


@pytest.fixture(scope="module")
def commands():
    """Name -> (the dataclass of its options, what refuses options, with a folder)."""
    defaults = {}
    for name in EXPERIMENTS:
        experiment = registry.load(name, EXPERIMENTS)
        if experiment.sample is not None:
            defaults[f"sample {name}"] = experiment.sample.options, sampled(experiment)
    for name in ("text-to-image", "video", "serve"):
        tool = importlib.import_module(TOOLS[name]).COMMAND
        defaults[name] = tool.options, lambda options, folder, tool=tool: tool.check(options)
    return defaults


def sampled(experiment):
    """The call of `sample` for a run of smoke numbers, of which nothing but an empty folder is there."""

    def call(options, folder):
        if experiment.sample.check is not None:
            experiment.sample.check(options)
        experiment.sample.call(experiment.smoke, RunFolder(folder), options, Progress(quiet=True))

    return call


@pytest.fixture
def helps(monkeypatch, capsys):
    """Options -> the help text of each, by its name."""
    monkeypatch.setenv("COLUMNS", "5000")

    def read(options):
        with pytest.raises(SystemExit):
            tyro.cli(options, args=["--help"])
        page = " ".join(
            capsys.readouterr().out.partition("show this help message and exit")[2].replace("│", " ").split()
        )
        rows = re.findall(r"--([a-z-]+) (?:(?:{None}\|)?[A-Z]{3,}(?:\.png)? )?([^-].*?) \(default", page)
        return {name.replace("-", "_"): text for name, text in rows}

    return read


def test_shared_options_have_one_record_and_one_help_text(commands, helps):
    assert {
        "sample images",
        "sample gan-modes",
        "sample multimodal",
        "text-to-image",
        "video",
        "serve",
    } <= commands.keys()
    shared = helps(SteppedOptions) | helps(RunOptions) | drawing_options.HELP | {"out": "Where to write"}
    assert shared.keys() == {"num", "seed", "out", "steps", "force", "trained_seed", "guidance", "sampler", "together"}
    for name, (options, _) in commands.items():
        assert issubclass(options, DrawingOptions) or name in WITHOUT_NOISE, name
        texts = helps(options)
        assert len(texts) > 5, name
        for option in shared.keys() & texts.keys():
            assert texts[option].startswith(shared[option]), (name, option)


def test_shared_options_are_refused_in_one_way_before_anything_is_read(commands, tmp_path):
    for name, (options, call) in commands.items():
        for option in WRONG.keys() & {field.name for field in dataclasses.fields(options)}:
            value, message = WRONG[option]
            prompted = (
                {"prompt": "a red circle"} if "prompt" in {field.name for field in dataclasses.fields(options)} else {}
            )
            with pytest.raises(ConfigError, match=message):
                call(options(**prompted, **{option: value}), tmp_path)
                pytest.fail(f"{name} takes --{option} {value}")
    assert not list(tmp_path.iterdir())
