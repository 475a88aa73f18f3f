"""The command that goes on with a run, made from its config.json."""

import shlex
from typing import Any

from experiments.framework.configuration import Resolved
from experiments.framework.registry import Experiment
from experiments.framework.run_folder import RunFolder
from experiments.reporting import json_files

PROGRAM = "python -m experiments"


def command(experiment: Experiment, stored: Resolved, folder: RunFolder) -> str:
    """`run NAME …` with the preset of the run, every field in which its configuration differs from that, and its folder."""
    begun = experiment.smoke if stored.smoke else experiment.presets.get(stored.preset, experiment.config())
    start = ["--smoke"] if stored.smoke else ["--preset", stored.preset] if stored.preset != "full" else []
    words = ["run", stored.experiment, *start, *_options(stored.config, json_files.encode(begun)), "--out", str(folder.path)]
    return f"{PROGRAM} {shlex.join(words)}"


def _options(config: dict[str, Any], begun: dict[str, Any], within: str = "") -> list[str]:
    words = []
    for name, value in config.items():
        option, before = within + name.replace("_", "-"), begun.get(name)
        if isinstance(value, dict):
            words += _options(value, before or {}, f"{option}.")
        elif value != before:
            flag = f"--{within}no-{name.replace('_', '-')}" if value is False else f"--{option}"
            words += [flag] if isinstance(value, bool) else [flag, *map(str, value if isinstance(value, list) else [value])]
    return words
