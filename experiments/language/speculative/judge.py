"""The law of speculated tokens, the texts of a real model, and their time, as claims."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.language.speculative import law, writing
from experiments.language.speculative.config import Config
from experiments.language.speculative.writing import EARLY, LOOKUP, PLAIN, Written
from experiments.language.writing_tasks import REPEATING, TASKS
from gendiff.commands.chat import models
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Everything, on tiny vocabularies and on SmolLM2's weights."""
    claims = list[Claim]()
    for seed in config.seeds:
        with progress.phase("law", seed=seed):
            claims += _law_claims(config, seed)
    with progress.phase("texts"):
        texts = writing.written(config, models.tiny(context=512) if config.tiny else models.opened(), progress)
    claims += _text_claims(config, texts)
    return Outcome(tuple(claims), (_plot(config, texts, folder),), (_table(config, texts),))


def _law_claims(config: Config, seed: int) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed)
    first, joint = law.p_values(seed, config.draws)
    yield claim("first", "law of the first token: p-value of chi-square", first, ">=", "law", n=config.draws)
    yield claim("joint", "law of the first two tokens: p-value of chi-square", joint, ">=", "law", n=config.draws)
    for id, mistake in zip(("skipped", "swapped", "unprocessed"), law.MISTAKES, strict=True):
        p = min(law.p_values(seed, config.draws, mistake))
        yield claim(id, f"smaller p-value where {mistake}", p, "<=", "planted", n=config.draws, kind="control")
    distance, per_call, judged = law.acceptance(seed, config.texts)
    yield claim("acceptance", "share of accepted guesses from the overlap of p and q, in standard errors", distance, "<=", n=judged)
    yield claim("per-call", "tokens per call over the formula, less 1", abs(per_call - 1), "<=", n=judged)


def _text_claims(config: Config, texts: list[Written]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None)
    for name in (LOOKUP, EARLY):
        hits = np.array([text.same[name] for text in texts])
        ties = sum(text.tied[name] for text in texts)
        statement = f"share of greedy texts by {name} that are those without a draft; {ties} need a tie"
        yield claim(f"same-{name.replace(' ', '-')}", statement, float(hits.mean()), ">=", "same", n=len(hits))
    for task in TASKS:
        limit = "faster" if task in REPEATING else "not_slower"
        statement = f"times as fast by prompt lookup: {task}"
        n = sum(text.task == task for text in texts) * config.rounds
        yield claim(f"speed-{task.replace(' ', '-')}", statement, _gain(texts, task, LOOKUP), ">=", limit, n=n, figure="gains.png")


def _gain(texts: list[Written], task: str, way: str) -> Number:
    """Seconds of all texts of a task without a draft over those with it, by round."""
    of = [text for text in texts if text.task == task]
    plain, drafted = (np.sum([text.seconds[name] for text in of], 0) for name in (PLAIN, way))
    return intervals.interval(lambda first, second: float(np.median(first / second)), plain, drafted, paired=True)


def _plot(config: Config, texts: list[Written], folder: RunFolder) -> Figure:
    bars = {f"{task}, {way}": _gain(texts, task, way) for task in TASKS for way in (LOOKUP, EARLY)}
    caption = "Times as fast as without a draft, by task."
    limits = [("as fast", 1.0), ("twice as fast", 2.0)]
    return figures.bars(bars, folder.figure("gains"), caption, x_label="times as fast", thresholds=limits)


def _table(config: Config, texts: list[Written]) -> Table:
    rows = list[tuple[Any, ...]]()
    for task in TASKS:
        of = [text for text in texts if text.task == task]
        for way in (LOOKUP, EARLY):
            calls, accepted, judged = (sum(getattr(text, part)[way] for text in of) for part in ("calls", "accepted", "judged"))
            tokens = sum(text.tokens for text in of)
            share = accepted / judged if judged else None
            per_call = tokens / calls if calls else None
            gain = _gain(texts, task, way)[0]
            rows.append((task, way, tokens, per_call, share, gain, None if per_call is None else per_call / gain))
    columns = ("task", "draft", "tokens", "tokens per call", "accepted", "times as fast", "break-even")
    note = "Break-even: what a call with its guesses costs, in steps of one token. A draft gains where a call gives more tokens than that."
    return Table("Greedy texts of a real model.", columns, tuple(rows), note=note, main=True)
