"""The commands of the page "From a folder to a pod": the command line and the scripts take each of them, and they run
in turn.
"""

import re
import shlex
from pathlib import Path

import pytest

from gendiff.commands import catalogue, command_line
from gendiff.runs import registry
from tests.tables import table

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "experiments" / "documentation" / "pages" / "from_folder_to_pod.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
OURS = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("gendiff ")]
OTHERS = [line for line in COMMANDS if not line.startswith("gendiff ")]


def parsed(words):
    """The options that the command line reads from the words of a command."""
    command, path, *options = words
    if command == "train":
        return command_line._parse_run(
            registry.load("images", catalogue.EXPERIMENTS), ["--data", path, *options], "own"
        )
    sample = registry.load("images", catalogue.EXPERIMENTS).sample
    parsers = {"sample": sample, "finalize": sample.finalize, "evaluate": sample.evaluate}
    kind = command_line.ReportOptions if command == "report" else parsers[command].options
    return command_line._parse(kind, command, [path, *options] if command == "report" else options)


@table("words", OURS)
def test_a_command_of_the_page_is_one_that_the_command_line_takes(words):
    assert parsed(words)


@table("line", OTHERS)
def test_a_script_of_the_page_exists_and_what_it_is_handed_is_taken(line):
    (script,) = re.findall(r"experiments/jobs/\S+", line)
    assert (PROJECT / script).is_file()
    words = shlex.split(line.split(script)[1])
    if "images" in words:
        assert parsed(["train", *words[words.index("--data") + 1 :]])
    elif "train" in words:
        assert parsed(words[words.index("train") :])


SMALL = {
    "train": "--size 8 --network dit-tiny/4 --steps 6 --batch 8 --checkpoint-every 3 --sampling-steps 2 --samples 12 "
    "--control-samples 12 --together 12 --draws 2 --draw-size 10 --level-pictures 6 --features pixels --previews 4",
    "sample": "--steps 2",
}
"""Further options for a run that only has to run."""
CHEAPER = {"50000": "20", "1000": "10"}


@pytest.mark.slow
def test_the_commands_of_the_page_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S):
        exec(compile(block, "page", "exec"), names)
    for words in OURS:
        if {"--preset", "--profile"} & set(words):  # tested with the presets, and with profiles
            continue
        cheaper = [CHEAPER.get(word, word) for word in words] + SMALL.get(words[0], "").split()
        assert command_line.main(cheaper, catalogue.EXPERIMENTS) == 0, cheaper
    for left in ("runs/photos/report.html", "runs/photos/grid.png", "photos.npz", "samples/photos/scores.json"):
        assert Path(left).exists(), left
