"""How an adapter is judged: rows without it and with it, those held out and some of those it learned from."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.images import image_training
from gendiff.commands.tune import train
from gendiff.commands.tune.config import Config
from gendiff.commands.tune.train import Arrays, Batch, Job
from gendiff.core.types import Params
from gendiff.networks import lora
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.results import Table
from gendiff.runs.run_folder import RunFolder

ROUNDING = 1e-4
"""A margin that tells nothing: such a pair is half a right one."""
COLUMNS = "", "rows", "without the adapter", "with it", "difference"
NOTES = {
    "sft": "Loss: −log p per token of an answer with its end, in nats; a mean over rows. Less is better.",
    "dpo": "Loss: −log logistic(margin); log 2 without the adapter. Accuracy: share of pairs with margin above 0.",
    "grpo": "Reward: of the likeliest answer. Log-probabilities and draws are in the curves of training.",
}


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """A table and a curve, and no verdict: the rows are the user's own."""
    job = train.prepared(config, folder, progress)
    change = train.learned(job, folder)
    none = jax.tree.map(jnp.zeros_like, change)
    table: list[tuple[CellValue, ...]] = []
    with progress.phase("judge"):
        measure = devices.jit(functools.partial(measures, job), libraries=config.method != "grpo")
        for title, part in (("held out", job.held_out), ("learned from", job.training)):
            data = train.with_reference(job, {name: array[: config.judged] for name, array in part.items()}, progress)
            before, after = (_measured(job, measure, tree, data) for tree in (none, change))
            for name, values in before.items():
                gain = intervals.interval(intervals.difference_of_means, after[name], values, paired=True)
                means = (intervals.interval(np.mean, each[name]) for each in (before, after))
                table.append((f"{name}, {title}", len(values), *means, gain))
    name = "score" if config.method == "grpo" else "loss"
    curve = image_training.loss_curve("training", folder, config.seeds[0], name)
    figure = figures.curves([curve], folder.figure(name), "On the way.", x_label="step", y_label=name)
    note = f"{NOTES[config.method]} Where the interval of the difference holds 0, the rows are too few to tell."
    chosen = {"steps": str(job.facts.steps), "learning_rate": f"{job.facts.learning_rate:g}"}
    result = Table("What the adapter changes", COLUMNS, tuple(table), note, main=True)
    return Outcome((), (figure,), (result,), chosen=chosen)


def measures(job: Job, change: Params, data: Batch, params: Params) -> dict[str, jax.Array]:
    """What is measured of each row (n,), by its name."""
    adapted = lora.unmerged(params, change)
    if job.config.method == "grpo":
        answers = train.drawn_answers(job, adapted, jax.random.key(0), data["prompt"], data["row"], 0.0)
        return {"answer": answers.actions}
    log_probs = train.answer_log_probs(job, adapted, data["tokens"], data["weight"])
    if job.config.method == "sft":
        return {"loss": -log_probs / jnp.sum(data["weight"], 1)}
    ratio = log_probs - data["reference"]
    margin = job.beta * (ratio[:, 0] - ratio[:, 1])
    preferred = (margin > ROUNDING) + (jnp.abs(margin) <= ROUNDING) / 2
    return {"loss": jax.nn.softplus(-margin), "accuracy": preferred}


def _measured(job: Job, measure: Callable[..., Arrays], change: Params, data: Arrays) -> Arrays:
    """The measures of all rows on the host, part by part."""
    names = tuple(data)

    def draw(*arrays: jax.Array) -> Arrays:
        return measure(change, dict(zip(names, arrays, strict=True)), job.chat.params)

    groups = [(None, tuple(data.values()))]
    parts = [part for *_, part in drawing.stream(draw, groups, together=job.config.batch)]
    result = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if job.config.method == "grpo":
        result = {"reward": train.rewarded(job, result["answer"], data["row"])}
    return {name: values.astype(np.float64) for name, values in result.items()}
