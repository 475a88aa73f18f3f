"""The command that resumes a run, made from its config.json."""

import shlex
from collections.abc import Mapping

from gendiff.runs.configuration import Resolved
from gendiff.runs.program import program
from gendiff.runs.registry import Experiment
from gendiff.runs.reporting import json_files
from gendiff.runs.run_folder import RunFolder


def command(experiment: Experiment, stored: Resolved, folder: RunFolder) -> str:
    """`run NAME …` with the preset of the run, every field in which its configuration differs from that, and its
    folder.
    """
    defaults = experiment.smoke if stored.smoke else experiment.presets.get(stored.preset, experiment.config())
    start = ["--smoke"] if stored.smoke else ["--preset", stored.preset] if stored.preset != experiment.begins else []
    words = [
        *(experiment.typed or f"run {stored.experiment}").split(),
        *start,
        *_options(stored.config, json_files.encode(defaults)),
        "--out",
        str(folder.path),
    ]
    return f"{program()} {shlex.join(words)}"


def _options(config: Mapping[str, object], defaults: Mapping[str, object], within: str = "") -> list[str]:
    words = []
    for name, value in config.items():
        option, before = within + name.replace("_", "-"), defaults.get(name)
        if isinstance(value, dict):
            words += _options(value, before if isinstance(before, dict) else {}, f"{option}.")
        elif value != before:
            flag = f"--{within}no-{name.replace('_', '-')}" if value is False else f"--{option}"
            words += (
                [flag] if isinstance(value, bool) else [flag, *map(str, value if isinstance(value, list) else [value])]
            )
    return words
