"""Greedy texts of the real model with and without drafts: whether they are the same, and how long they take."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from experiments.language.speculative.config import Config
from experiments.language.writing_tasks import TASKS
from gendiff import language, networks
from gendiff.commands.chat import models, steps
from gendiff.language import cache, drafts, processors, speculative
from gendiff.pipelines import Chat
from gendiff.runs import interleaving
from gendiff.runs.progress import Progress

PLAIN, LOOKUP, EARLY = "without", "prompt lookup", "early exit"
PROMPT = 192
"""Tokens that a prompt is padded to."""


@dataclass(frozen=True)
class Written:
    """One text. same: as without a draft, ties aside. tied: a tie was needed. calls: of the model. accepted, judged: guesses."""

    task: str
    seconds: dict[str, np.ndarray]
    tokens: int
    same: dict[str, bool]
    tied: dict[str, bool]
    calls: dict[str, int]
    accepted: dict[str, int]
    judged: dict[str, int]


def written(config: Config, chat: Chat, progress: Progress) -> list[Written]:
    """Every prompt of every task, by every way."""
    runs = _runs(config, chat)
    prompts = [(task, prompt) for task, several in TASKS.items() for prompt in several[: config.prompts]]
    found = []
    with progress.task("texts", len(prompts)) as shown:
        for number, (task, prompt) in enumerate(prompts):
            ids = models.question(chat, prompt)[-PROMPT:]
            row = np.full((1, PROMPT), -1, np.int32)
            row[0, : len(ids)] = ids
            works = {name: functools.partial(run, row) for name, run in runs.items()}
            seconds = interleaving.timed(works, config.rounds)
            found.append(_compared(config, chat, task, ids, {name: jax.device_get(work()) for name, work in works.items()}, seconds))
            shown.update(number + 1)
    return found


def _runs(config: Config, chat: Chat) -> dict[str, Any]:
    """From a padded prompt (1, PROMPT) to the result of each way."""
    greedy, key, index = processors.temperature(0.0), jax.random.key(0), np.arange(1)
    model = language.from_network(networks.pure(chat.network), chat.params)
    blocks = min(config.early, chat.network.depth)
    shallow = chat.network.clone(depth=blocks)
    early = language.from_network(networks.pure(shallow), chat.params)
    stop = np.array([-1 if chat.tokenizer.end is None else chat.tokenizer.end])
    room = min(PROMPT + config.max_tokens + max(config.guesses, config.early_guesses), chat.network.context)
    options: dict[str, Any] = {"max_tokens": config.max_tokens, "processor": greedy, "stop": stop}

    def plain(model: Any, prompt: jax.Array) -> Any:
        return language.generate(key, model, cache.full(chat.network, 1, room), prompt, index, **options)

    def lookup(model: Any, prompt: jax.Array) -> Any:
        held = cache.full(chat.network, 1, room)
        return speculative.generate(key, model, held, drafts.prompt_lookup(), prompt, index, gamma=config.guesses, **options)

    def leaving(model: Any, early: Any, prompt: jax.Array) -> Any:
        draft = drafts.model(early, cache.full(shallow, 1, room))
        return speculative.generate(
            key, model, cache.full(chat.network, 1, room), draft, prompt, index, gamma=config.early_guesses, **options
        )

    plain, lookup, leaving = (steps.jit(each) for each in (plain, lookup, leaving))
    return {
        PLAIN: functools.partial(plain, model),
        LOOKUP: functools.partial(lookup, model),
        EARLY: functools.partial(leaving, model, early),
    }


def _compared(
    config: Config, chat: Chat, task: str, prompt: np.ndarray, results: dict[str, Any], seconds: dict[str, tuple[float, ...]]
) -> Written:
    expected = np.asarray(results[PLAIN].tokens[0])
    same, tied = {}, {}
    for name in (LOOKUP, EARLY):
        differ = np.flatnonzero(np.asarray(results[name].tokens[0]) != expected)
        tied[name] = bool(differ.size) and _is_tie(config, chat, np.concatenate([prompt, expected[: differ[0]]]))
        same[name] = not differ.size or tied[name]
    numbers = {part: {name: int(getattr(results[name], part)[0]) for name in (LOOKUP, EARLY)} for part in ("calls", "accepted", "rejected")}
    judged = {name: numbers["accepted"][name] + numbers["rejected"][name] for name in (LOOKUP, EARLY)}
    spent = {name: np.array(each) for name, each in seconds.items()}
    return Written(task, spent, int(results[PLAIN].length[0]), same, tied, numbers["calls"], numbers["accepted"], judged)


def _is_tie(config: Config, chat: Chat, text: np.ndarray) -> bool:
    """Whether the two likeliest tokens behind a text are closer than rounding."""
    logits = np.asarray(networks.pure(chat.network)(chat.params, text[None], None, False).logits[0])
    second, first = np.partition(logits, -2)[-2:]
    return bool(first - second < config.tie)
