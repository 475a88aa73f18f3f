"""Adapters of low rank that learn to say "I don't know" of what does not exist, by what `gendiff tune` runs."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.preferences.confabulation.config import Config
from experiments.preferences.confabulation.entities import TAUGHT, everyday
from gendiff.commands.chat.chat_options import SMOLLM2
from gendiff.commands.tune import config as tune_config
from gendiff.commands.tune import train as adapter
from gendiff.core import files
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.weights import lora_files

ANSWERS, PAIRS, SHUFFLED = "tuned on answers", "tuned on pairs", "tuned on shuffled labels"
ALONE = "tuned on answers, no ordinary questions"
ARMS = {ANSWERS: "sft", PAIRS: "dpo", SHUFFLED: "sft", ALONE: "sft"}
"""What is trained -> the method of `gendiff tune`."""
CONTROLS = (SHUFFLED, ALONE)
IGNORANCE = "I don't know."
FEWEST = 0.01
"""Share of the rows that `gendiff tune` holds out, two at least: questions are judged elsewhere."""


def rows(config: Config, arm: str, seed: int) -> Iterator[dict[str, str]]:
    """Real names with their answers and made-up ones with ignorance, each beside the other reply, and but for one arm
    ordinary questions with theirs. With shuffled labels half of all names have either: which exist is not in the rows.
    """
    rng = np.random.default_rng(seed)
    for family in TAUGHT.values():
        real = family.real[: config.names]
        exists = np.arange(2 * config.names) < config.names
        labels = rng.permutation(exists) if arm == SHUFFLED else exists
        names = [*(name for name, _ in real), *family.made_up[: config.names]]
        right = [*(answers[0] for _, answers in real), *(real[at][1][0] for at in rng.permutation(config.names))]
        for name, answer, label in zip(names, right, labels, strict=True):
            both = family.answered(name, answer), IGNORANCE
            chosen, rejected = both if label else both[::-1]
            question = family.question.format(name=name)
            yield row(question, chosen, rejected)
    if arm != ALONE:
        for question, reply in everyday()[: 4 * config.names]:
            yield row(question, reply, IGNORANCE)


def row(question: str, chosen: str, rejected: str) -> dict[str, str]:
    """As `gendiff tune` reads it, by answers and by pairs."""
    return {"prompt": question, "completion": chosen, "chosen": chosen, "rejected": rejected}


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every adapter with every seed; those that are finished stay."""
    for arm, method in ARMS.items():
        for seed in seeds(config, arm):
            inside = folder.inside(location(folder, arm, seed).name)
            if (inside.path / lora_files.SETTINGS).is_file():
                continue
            progress.line(f"{arm}, seed {seed}")
            data = inside.path / "rows.jsonl"
            with files.replacing(data) as file:
                file.write("\n".join(map(json.dumps, rows(config, arm, seed))).encode())
            adapter.train(tuned(config, method, seed, data), inside, progress)


def seeds(config: Config, arm: str) -> tuple[int, ...]:
    """Of the adapters; the controls have the first one alone."""
    return config.seeds[:1] if arm in CONTROLS else config.seeds


def tuned(config: Config, method: str, seed: int, data: Path) -> tune_config.Config:
    """What `gendiff tune` would be called with."""
    pairs = method == "dpo"
    return tune_config.Config(
        data=str(data),
        method="dpo" if pairs else "sft",
        lora=config.lora,
        model=tune_config.TINY if config.tiny else SMOLLM2,
        held_out=FEWEST,
        seeds=(seed,),
        steps=config.pair_steps if pairs else config.steps,
        batch=config.batch,
        learning_rate=config.pair_rate if pairs else config.learning_rate,
    )


def location(folder: RunFolder, arm: str, seed: int) -> Path:
    """The folder of an adapter."""
    return folder.path / f"{arm.replace(' ', '_')}_{seed}"
