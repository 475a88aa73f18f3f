"""Balance, held-out loss, operations and seconds of the networks, as claims."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.language.moe import networks as compared
from experiments.language.moe.config import Config
from experiments.language.moe.networks import ACTIVE, BALANCED, FOLDERS, FREE, TOTAL
from gendiff import networks
from gendiff.commands.images import image_training
from gendiff.networks import routing
from gendiff.runs import devices, interleaving
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.runs.run_folder import RunFolder

TOGETHER = 32
"""Rows that are judged in one call."""


class Measured:
    """Of one trained network: losses (rows,) in nats per byte, shares (blocks, experts) of choices, balance losses (blocks,)."""

    def __init__(self, losses: np.ndarray, shares: np.ndarray, balance: np.ndarray) -> None:
        self.losses, self.shares, self.balance = losses, shares, balance

    @property
    def busiest(self) -> float:
        """Share of the busiest expert of any block over an even share."""
        return float(self.shares.max() * self.shares.shape[1])


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every network with every seed, on the same held-out rows."""
    held_out = compared.rows(config).held_out
    found: dict[str, list[Measured]] = {}
    with progress.phase("judge"):
        for name in FOLDERS:
            judge = devices.jit(judge_of(config, name))
            found[name] = [measured(judge, compared.restore(config, folder, name, seed), held_out) for seed in config.seeds]
    with progress.phase("times"):
        seconds = _seconds(config, held_out)
    shown = (_loss_plot(config, folder), _share_plot(config, found, folder))
    return Outcome(claims(config, found, seconds), shown, (table(config, found, seconds),))


def claims(config: Config, found: dict[str, list[Measured]], seconds: dict[str, np.ndarray]) -> tuple[Claim, ...]:
    """Of what was measured of each network: for each seed, and seconds (rounds,) of a gradient."""
    of_seeds = [claim for at, seed in enumerate(config.seeds) for claim in _claims_of_seed(config, seed, found, at)]
    return (*of_seeds, *_claims_of_all(config, found, seconds))


def judge_of(config: Config, name: str) -> Any:
    """From parameters and rows to what `Measured` holds."""
    predict = networks.pure(compared.network(config, name))

    def judge(params: Any, rows: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        answer = predict(params, rows[:, :-1])
        losses = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(answer.logits, jnp.asarray(rows)[:, 1:]), 1)
        if not answer.routing:
            return losses, jnp.ones((config.depth, 1)), jnp.ones(config.depth)
        return losses, routing.load(answer.routing), routing.balance_loss(answer.routing)

    return judge


def measured(judge: Any, params: Any, rows: np.ndarray) -> Measured:
    """Rows that do not fill a call are left out, so that calls count alike."""
    size = min(TOGETHER, len(rows))
    parts = [judge(params, rows[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
    losses, shares, balance = (np.stack([np.asarray(part[at]) for part in parts]) for at in range(3))
    return Measured(losses.ravel(), shares.mean(0), balance.mean(0))


def _seconds(config: Config, rows: np.ndarray) -> dict[str, np.ndarray]:
    """(rounds,) of the gradient of one batch: what a training step takes beside the optimizer."""
    works: dict[str, Any] = {}
    for name in (BALANCED, ACTIVE, TOTAL):
        gradient = devices.jit(jax.grad(compared.loss(config, name), has_aux=True))
        params = compared.init(config, name)(jax.random.key(0))
        works[name] = functools.partial(gradient, params, jax.random.key(0), rows[: config.batch])
    return {name: np.array(spent) for name, spent in interleaving.timed(works, config.rounds).items()}


def _claims_of_seed(config: Config, seed: int, found: dict[str, list[Measured]], at: int) -> list[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed)
    experts, active = found[BALANCED][at], found[ACTIVE][at]
    options: Any = {"paired": True, "resamples": config.resamples}
    less = intervals.interval(intervals.difference_of_means, experts.losses, active.losses, **options)
    better = "held-out loss less that of a dense network with as much computation, nats per byte"
    return [
        claim("balance", "balance loss of the worst block on held-out text", float(experts.balance.max()), "<=", n=config.depth),
        claim("busiest", "share of the busiest expert over an even one", experts.busiest, "<=", n=config.depth, figure="shares.png"),
        claim("better", better, less, "<=", n=len(experts.losses)),
    ]


def _claims_of_all(config: Config, found: dict[str, list[Measured]], seconds: dict[str, np.ndarray]) -> list[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, None)
    free = float(np.median([each.busiest for each in found[FREE]]))
    counted = compared.operations(config, BALANCED) / compared.operations(config, TOTAL)
    ratio = intervals.interval(
        lambda first, second: float(np.median(first / second)), seconds[BALANCED], seconds[TOTAL], paired=True, resamples=config.resamples
    )
    collapsed = "share of the busiest expert over an even one without the balance loss: median over seeds"
    return [
        claim("collapsed", collapsed, free, ">=", n=len(config.seeds), kind="control", figure="shares.png"),
        claim("operations", "operations per token over those of a dense network with as many parameters", counted, "<=", n=1),
        claim("seconds", "seconds of a gradient over those of that network", ratio, "<=", n=config.rounds),
    ]


def _loss_plot(config: Config, folder: RunFolder) -> Figure:
    curves = [image_training.loss_curve(name, folder.inside(place), config.seeds[0], "nll") for name, place in FOLDERS.items()]
    caption = f"Training loss in nats per byte, seed {config.seeds[0]}."
    return figures.curves(curves, folder.figure("loss"), caption, x_label="step", y_label="nats per byte")


def _share_plot(config: Config, found: dict[str, list[Measured]], folder: RunFolder) -> Figure:
    """Experts of a block from the busiest on."""
    curves = []
    for name in (BALANCED, FREE):
        sorted_shares = np.mean([np.sort(each.shares, 1)[:, ::-1] for each in found[name]], (0, 1))
        curves.append(figures.Curve(name, np.arange(1, config.experts + 1), sorted_shares * config.experts))
    caption = "Share of each expert over an even one, the busiest first: means over blocks and seeds."
    return figures.curves(curves, folder.figure("shares"), caption, x_label="expert, the busiest first", y_label="share over an even one")


def table(config: Config, found: dict[str, list[Measured]], seconds: dict[str, np.ndarray]) -> Table:
    rows = []
    for name, each in found.items():
        params = jax.eval_shape(compared.init(config, name), jax.random.key(0))
        spent = float(1e3 * np.median(seconds[name])) if name in seconds else None
        losses = float(np.mean([of.losses.mean() for of in each]))
        rows.append((name, networks.count(params) / 1e6, compared.operations(config, name) / 1e6, losses, losses / np.log(2), spent))
    columns = ("network", "million parameters", "million operations per token", "nats per byte", "bits per byte", "ms per gradient")
    return Table("Networks on held-out text, means over seeds.", columns, tuple(rows), main=True)
