"""Bytes, likelihood, answers and digits in every format, as claims."""

import functools
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.language.quantise import images, text
from experiments.language.quantise.config import Config
from experiments.language.quantise.formats import BFLOAT16, FLOAT32, INT4, INT8, UNGROUPED
from experiments.language.quantise.text import Measured
from gendiff.commands.chat import models
from gendiff.data import text as texts
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder
from gendiff.weights import quantised

NOTE = "The file of SmolLM2 holds its weights in 4 bits already, in groups of 32 with a minimum. No format here has that grid."
SIDE, TIMES = 512, 30.0
"""Of the matrix with one large output, and how much larger that is."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Everything, on SmolLM2's weights, Python's own manual, and digits."""
    chat = models.tiny(context=1024) if config.tiny else models.opened()
    ids = chat.tokenizer.encode("\n".join(texts.python_manual().texts))
    found = text.measured(config, chat, ids, progress)
    with progress.phase("digits"):
        distances = images.distances(config, folder, progress)
    return Outcome(claims(config, found, distances), (_plot(found, folder),), (table(config, found), _digits_table(config, distances)))


def claims(config: Config, found: dict[str, Measured], distances: dict[str, list[np.ndarray]]) -> tuple[Claim, ...]:
    """Of each format: what was measured of the language model, and distances (draws,) of digits for each seed."""
    return (*_text_claims(config, found), *_image_claims(config, distances), *_outlier_claims(config))


def _text_claims(config: Config, found: dict[str, Measured]) -> Iterator[Claim]:
    plain = found[FLOAT32]
    claim = functools.partial(verdicts.against, config.thresholds, None)
    tokens, asked = plain.losses.size, plain.right.size
    for name, short in ((INT8, "int8"), (INT4, "int4")):
        saved = found[BFLOAT16].nbytes / found[name].nbytes
        yield claim(f"saved-{short}", f"bytes of the language model in bfloat16 over those in {name}", saved, ">=", n=1)
        lost = f"growth of the negative log-likelihood of real text in {name}, nats per token"
        yield claim(f"lost-{short}", lost, _lost(config, found[name], plain), "<=", n=tokens)
        fall = intervals.interval(intervals.difference_of_means, plain.right, found[name].right, paired=True, resamples=config.resamples)
        yield claim(f"answers-{short}", f"fall of the share of answered questions in {name}", fall, "<=", n=asked)
    worse = "growth of the negative log-likelihood in 4 bits without groups"
    yield claim("ungrouped", worse, _lost(config, found[UNGROUPED], plain), ">=", "lost_int4", n=tokens, kind="control")


def _lost(config: Config, of: Measured, plain: Measured) -> Number:
    """The interval is over pieces of text, whose tokens depend on one another."""
    pieces = of.losses.size // (config.piece - 1)
    rows = [each.losses.reshape(pieces, -1).mean(1) for each in (of, plain)]
    return intervals.interval(intervals.difference_of_means, *rows, paired=True, resamples=config.resamples)


def _image_claims(config: Config, distances: dict[str, list[np.ndarray]]) -> Iterator[Claim]:
    plain = distances[FLOAT32]
    means = [float(np.mean(each)) for each in plain]
    spread = max(means) - min(means) if len(means) > 1 else float(np.ptp(plain[0]))
    for name, id in ((INT8, "images"), (INT4, "images-int4")):
        for seed, before, after in zip(config.seeds, plain, distances[name], strict=True):
            change = intervals.interval(lambda one, two: abs(np.mean(one - two)) / spread, after, before, paired=True)
            statement = f"change of the Fréchet distance of digits in {name}, over the range of the seeds in float32"
            yield verdicts.against(config.thresholds, seed, id, statement, change, "<=", n=config.samples)


def _outlier_claims(config: Config) -> Iterator[Claim]:
    """One output of a Gaussian matrix is 30 times as large: what that does to the others."""
    matrix = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    matrix[:, 0] *= TIMES
    claim = functools.partial(verdicts.against, config.thresholds, None, n=SIDE * (SIDE - 1))
    for id, kind, relation, options in (
        ("channel", quantised.int8(), "<=", {}),
        ("tensor", quantised.int8(per_output=False), ">=", {"kind": "control"}),
    ):
        back = np.asarray(quantised.packed_array(jnp.asarray(matrix), kind).dense(jnp.float32))
        error = float(np.sqrt(np.mean((back - matrix)[:, 1:] ** 2) / np.mean(matrix[:, 1:] ** 2)))
        how = "a scale of their own" if id == "channel" else "one scale for all"
        statement = f"relative error of outputs in 8 bits beside one that is {TIMES:g} times as large: {how}"
        yield claim(id, statement, error, relation, **options)  # type: ignore[arg-type]


def _plot(found: dict[str, Measured], folder: RunFolder) -> Figure:
    plain = found[FLOAT32].losses.mean()
    bars = {name: float(of.losses.mean() - plain) for name, of in found.items() if name != FLOAT32}
    caption = "Growth of the negative log-likelihood of real text, in nats per token, by the format of the weights."
    return figures.bars(bars, folder.figure("likelihood"), caption, x_label="nats per token")


def table(config: Config, found: dict[str, Measured]) -> Table:
    plain = found[FLOAT32]
    rows: list[tuple[Any, ...]] = []
    for name, of in found.items():
        agree, times = float(np.mean(of.best == plain.best)), float(1e3 * np.median(of.seconds))
        rows.append((name, of.nbytes / 1e6, float(of.losses.mean()), agree, float(of.right.mean()), times))
    columns = ("weights", "MB", "nats per token", "same likeliest token", "answered", "ms per token")
    return Table("A language model in each format.", columns, tuple(rows), note=NOTE, main=True)


def _digits_table(config: Config, distances: dict[str, list[np.ndarray]]) -> Table:
    rows: tuple[tuple[Any, ...], ...] = tuple((name, *(float(np.mean(of)) for of in each)) for name, each in distances.items())
    columns = ("weights", *(f"seed {seed}" for seed in config.seeds))
    return Table("Fréchet distance of digits, in floors.", columns, rows)
