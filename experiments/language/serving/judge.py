"""Latency and throughput of a real model on this machine, bounds that fit them, and what those say of other machines."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.language.serving import timing
from experiments.language.serving.config import Config
from experiments.language.serving.timing import Place, Sizes
from gendiff import scaling
from gendiff.commands.chat import models
from gendiff.data import text
from gendiff.runs import interleaving
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

SHOWN_BATCHES = np.array([1, 8, 64, 512])
PROMPT = 16
"""Tokens of each prompt of the texts that are generated."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Everything, on SmolLM2's weights."""
    chat = models.tiny() if config.tiny else models.opened()
    of = timing.sizes(chat)
    with progress.phase("steps"):
        seconds, read = timing.measured(config, chat)
    with progress.phase("texts"):
        ids = chat.tokenizer.encode("\n".join(text.python_manual().texts[:8]))
        prompts = ids[: PROMPT * config.prompts].reshape(-1, PROMPT)
        lengths = np.random.default_rng(0).integers(1, config.longest + 1, config.prompts)
        lengths[0] = config.longest
        spent = interleaving.timed(timing.generated(config, chat, prompts, lengths), max(2, config.rounds // 3))
    medians = {place: float(np.median(each)) for place, each in seconds.items()}
    machine, _ = timing.fitted(of, medians)
    shown = _plot(config, of, medians, machine, folder)
    tables = (_steps(medians), _machine(machine, read, of), _elsewhere(of), _texts(spent, lengths, config))
    return Outcome(claims(config, of, seconds, read, spent), (shown,), tables)


def claims(
    config: Config, of: Sizes, seconds: Mapping[Place, np.ndarray], read: np.ndarray, spent: Mapping[str, tuple[float, ...]]
) -> tuple[Claim, ...]:
    """Of seconds (rounds,) of a step at each place, bytes read per second (rounds,), and seconds of texts that wait and that do not."""
    medians = {place: float(np.median(each)) for place, each in seconds.items()}
    (_, misfit), (_, alone) = (timing.fitted(of, medians, memory=memory) for memory in (True, False))
    one, many = (config.batches[0], config.contexts[0]), (config.batches[-1], config.contexts[0])
    reached = of.nbytes / np.array(seconds[one])
    share = intervals.interval(lambda step, whole: float(np.median(step / whole)), reached, read, paired=True, resamples=config.resamples)
    speed = {place: place[0] / np.array(seconds[place]) for place in (one, many)}
    gain = intervals.interval(
        lambda first, second: float(np.median(second / first)), speed[one], speed[many], paired=True, resamples=config.resamples
    )
    waited, refilled = (np.array(each) for each in spent.values())
    faster = intervals.interval(lambda first, second: float(np.median(first / second)), waited, refilled, paired=True)
    claim = functools.partial(verdicts.against, config.thresholds, None)
    return (
        claim("misfit", "two rates fitted to all steps: median relative error", misfit, "<=", n=len(medians), figure="steps.png"),
        claim("arithmetic", "the same without the term of memory", alone, ">=", "misfit", n=len(medians), kind="control"),
        claim("bandwidth", "parameter bytes per second of a step of one text, over the read bandwidth", share, ">=", n=config.rounds),
        claim("gain", f"tokens per second of {many[0]} texts over those of one", gain, ">=", n=config.rounds),
        claim("continuous", "seconds of batches that wait over those of refilled places", faster, ">=", n=len(waited)),
    )


def _plot(config: Config, of: Sizes, medians: Mapping[Place, float], machine: scaling.Accelerator, folder: RunFolder) -> Figure:
    curves = []
    for context in config.contexts:
        measured = [1e3 * medians[batch, context] for batch in config.batches]
        batches = np.array(config.batches, float)
        bounds = scaling.roofline.step_time(batches, of.parameters, of.nbytes, context * of.per_token, machine)
        curves.append(figures.Curve(f"{context} tokens", config.batches, measured))
        curves.append(figures.Curve(f"{context} tokens, fitted", config.batches, 1e3 * np.asarray(bounds)))
    options: Any = {"x_label": "texts at once", "y_label": "ms", "log_x": True, "log_y": True}
    return figures.curves(curves, folder.figure("steps"), "Milliseconds of a step, and the bounds that fit them.", **options)


def _steps(medians: Mapping[Place, float]) -> Table:
    rows = tuple((batch, context, 1e3 * spent, batch / spent) for (batch, context), spent in medians.items())
    return Table("Steps on this machine: medians.", ("texts at once", "tokens of each", "ms", "tokens per second"), rows, main=True)


def _machine(machine: scaling.Accelerator, read: np.ndarray, of: Sizes) -> Table:
    rows: tuple[tuple[Any, ...], ...] = (
        ("read bandwidth, measured, GB/s", float(np.median(read) / 1e9)),
        ("read bandwidth, fitted, GB/s", machine.bandwidth / 1e9),
        ("arithmetic, fitted, GFLOP/s", machine.flops / 1e9),
        ("texts at once from which on arithmetic is the bound", scaling.roofline.critical_batch(machine, 4.0)),
        ("parameters", of.parameters),
        ("bytes of keys and values per token", of.per_token),
    )
    return Table("This machine, and the model.", ("what", "is"), rows)


def _elsewhere(of: Sizes) -> Table:
    """Bounds of published machines for this model in bfloat16, 1,024 tokens of each text."""
    rows = list[tuple[Any, ...]]()
    for machine in scaling.accelerators.PUBLISHED:
        curve = scaling.roofline.serving_curve(SHOWN_BATCHES, of.parameters, of.nbytes / 2, 1024 * of.per_token / 2, machine)
        rows.append((machine.name, *(float(each) for each in curve.throughput)))
    columns = ("machine", *(f"{batch} at once" for batch in SHOWN_BATCHES))
    note = "Bounds by published rates: programs reach less, and overheads of a step, which a small model feels most, are left out."
    return Table("Tokens per second of this model in bfloat16, at best.", columns, tuple(rows), note=note)


def _texts(spent: Mapping[str, tuple[float, ...]], lengths: np.ndarray, config: Config) -> Table:
    rows = tuple((name, float(np.median(each)), float(lengths.sum() / np.median(each))) for name, each in spent.items())
    steps = timing.waiting(lengths, config.places)
    note = f"{len(lengths)} texts of {lengths.sum()} tokens in all; batches that wait take {steps} steps."
    return Table(f"Texts of unequal lengths, {config.places} at once.", ("how", "seconds", "tokens per second"), rows, note=note)
