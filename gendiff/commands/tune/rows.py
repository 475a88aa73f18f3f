"""Rows of a .jsonl file: what each method needs of them, and which are held out. Nothing here loads JAX."""

import dataclasses
import hashlib
import json
from typing import NamedTuple

import numpy as np

from gendiff.commands.chat import chat_options
from gendiff.commands.tune import rewards
from gendiff.commands.tune.config import METHODS, PASSES, SMOKE, TINY, Config
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError, DataError
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting

ANSWERS = {"sft": ("completion",), "dpo": ("chosen", "rejected"), "grpo": ("answer",)}
"""The answers that a row has beside its prompt."""
MOST_BYTES = 2**30
"""Of a file."""
FEWEST = 4
"""Rows of a file."""
SUMS = [
    {"prompt": f"{n} + 1 =", "completion": f" {n + 1}", "chosen": f" {n + 1}", "rejected": " no", "answer": f"{n + 1}"}
    for n in range(12)
]
"""The rows that come along."""


class Row(NamedTuple):
    """A prompt, its answers, and the line of the file that it stands in."""

    line: int
    messages: list[dict[str, str]]
    answers: tuple[str, ...]
    reward: str = "exact"


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of a file in two parts. fingerprint: of the bytes of the file."""

    training: list[Row]
    held_out: list[Row]
    fingerprint: str

    @property
    def table(self) -> list[Row]:
        """All of them, those to learn from first."""
        return [*self.training, *self.held_out]

    def steps(self, config: Config) -> int:
        """How many there are, where the configuration leaves that open."""
        return config.steps or -(-PASSES * len(self.training) // config.batch)


def check(config: Config) -> None:
    """ConfigError or DataError, before anything is loaded, for options, a model or rows that cannot be used."""
    for name, methods in METHODS.items():
        value, usual = getattr(config, name), [getattr(each, name) for each in (Config(), SMOKE)]
        if config.method not in methods and value not in usual:
            option = f"--{name.replace('_', '-')} {value:g}"
            raise ConfigError(
                f"{option} belongs to --method {' or '.join(methods)}, not to {config.method}: leave it out"
            )
    if config.method == "grpo" and config.max_tokens >= config.length:
        raise ConfigError(f"--max-tokens {config.max_tokens} must be below --length {config.length}, prompt included")
    count = len(read(config).training)
    if config.model not in (TINY, chat_options.SMOLLM2):
        chat_options.model_path(config.model)
    if config.batch > count:
        raise ConfigError(
            f"--batch {config.batch} is more than the {count} training rows of {config.data}: give --batch {count}, or "
            "more rows"
        )


def plan(config: Config, progress: Progress) -> None:
    """Says what would be learned from what. Nothing is loaded but the rows."""
    progress.line(described(config, read(config)))


def described(config: Config, rows: Rows) -> str:
    """What is learned from what, in a line."""
    learned = formatting.amount(len(rows.training), "row")
    return (
        f"{config.method}, rank {config.lora}: {learned} to learn from and {len(rows.held_out)} held out, "
        f"{formatting.amount(rows.steps(config), 'step')} of {config.batch}"
    )


def read(config: Config) -> Rows:
    """The rows of the file. ConfigError without a file, DataError, path and line first, for what is no row."""
    if config.data is None and config.model != TINY:
        raise ConfigError("--data FILE.jsonl is needed: a file with a JSON object a line")
    path = foreign_files.expanded(config.data or "rows.jsonl")
    try:
        sums = "\n".join(map(json.dumps, SUMS)).encode()
        content = sums if config.data is None else foreign_files.content(path, MOST_BYTES)
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 at byte {error.start}") from error
    groups = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                groups.append(_rows(config.method, number, line))
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}") from error
    if len(groups) < FEWEST:
        count = formatting.amount(len(groups), "row")
        raise DataError(f"{path}: holds {count}: at least {FEWEST} are needed, of which 2 judge")
    order = np.random.default_rng(0).permutation(len(groups))
    judging = set(order[: min(max(2, round(config.held_out * len(groups))), len(groups) - 2)].tolist())
    training, held_out = (
        [row for at, group in enumerate(groups) if (at in judging) is part for row in group] for part in (False, True)
    )
    return Rows(training, held_out, hashlib.sha256(content).hexdigest())


def _rows(method: str, line: int, text: str) -> list[Row]:
    """The rows of a line: one, or one for each answer in a conversation. ValueError for what is none."""
    value = foreign_files.decoded(text)
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object, got {type(value).__name__}")
    if method == "sft" and "messages" in value:
        messages = _messages("messages", value["messages"])
        places = [at for at, message in enumerate(messages) if at and message["role"] == "assistant"]
        if not places:
            raise ValueError("messages hold no answer: one of role assistant is needed behind the first message")
        return [Row(line, messages[:at], (messages[at]["content"],)) for at in places]
    needed = ANSWERS[method]
    if missing := [name for name in ("prompt", *needed) if name not in value]:
        raise ValueError(f"lacks {', '.join(missing)}, which --method {method} needs")
    if wrong := [name for name in needed if not isinstance(value[name], str) or not value[name]]:
        raise ValueError(f"{wrong[0]} must be a text that is not empty, got {value[wrong[0]]!r:.60}")
    prompt, reward = value["prompt"], value.get("reward", "exact")
    messages = _messages("prompt", [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)
    if method == "grpo" and reward not in tuple(rewards.REWARDS):  # it may be a list, which no mapping takes
        raise ValueError(f"reward = {reward!r:.60} is unknown; there are: {', '.join(rewards.REWARDS)}")
    if method == "grpo" and reward == "number":
        try:
            rewards.as_number(value["answer"])
        except ValueError:
            raise ValueError(
                f"answer {value['answer']!r:.60} is no number, which reward 'number' compares: write it as 18 or "
                "1,000.5"
            ) from None
    return [Row(line, messages, tuple(value[name] for name in needed), reward)]


def _messages(name: str, value: object) -> list[dict[str, str]]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of messages, got {value!r:.60}")
    for message in value:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise ValueError(f"each of {name} needs a text as role and one as content, got {message!r:.60}")
    if not value[0]["content"]:
        raise ValueError(f"{name} must not be empty")
    return value
