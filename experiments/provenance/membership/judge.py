"""The attacks on every target, as claims, a table and a plot."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.provenance import side_by_side
from experiments.provenance.membership import train
from experiments.provenance.membership.config import Config
from experiments.provenance.membership.train import Halves
from gendiff import diffusion
from gendiff.core.types import Params
from gendiff.data import digits
from gendiff.provenance import attack_rates, membership
from gendiff.runs import devices
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder

LOSS, LIRA, EACH, OFFLINE, OWN, SHUFFLED = "loss", "LiRA", "LiRA, own deviations", "LiRA offline", "LiRA, draws differ", "LiRA, shuffled"
TOGETHER = 450


@dataclass(frozen=True)
class Scored:
    """Of one attack. scores, members: (pictures, targets)."""

    scores: np.ndarray
    members: np.ndarray

    def rate(self, fpr: float) -> attack_rates.TruePositiveRate:
        """Over all targets together."""
        return attack_rates.tpr_at_fpr(self.scores[self.members], self.scores[~self.members], fpr)

    @property
    def auc(self) -> float:
        """Over all targets together."""
        return attack_rates.auc(self.scores[self.members], self.scores[~self.members])


@dataclass(frozen=True)
class Found:
    """Of one seed: attacks by name, and the mean loss of the targets on members and on others."""

    attacks: dict[str, Scored]
    seen: float
    unseen: float


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every attack with every seed."""
    images = digits.load().train_images
    losses = [devices.jit(jax.vmap(membership.per_example(side_by_side.LOSS), (0, None, None))), devices.jit(_own_draws)]
    found = []
    for seed in config.seeds:
        with progress.phase("judge", seed=seed):
            found.append(_attacked(config, train.restore(config, folder, seed), losses, images, seed))
    with progress.phase("claims"):
        claims = [each for seed, of in zip(config.seeds, found, strict=True) for each in claims_of(config, seed, of)]
    return Outcome(tuple(claims), (_plot(config, folder, found[0]),), (_table(config, found),))


def _own_draws(params: Params, key: jax.Array, batch: diffusion.Batch) -> jax.Array:
    """(models, n) losses whose draws differ between models and pictures: what an attack must not do."""

    def one(params: Params, key: jax.Array, picture: jax.Array) -> jax.Array:
        return side_by_side.LOSS(params, key, diffusion.Batch(picture[None]))[0]

    models, count = jax.tree.leaves(params)[0].shape[0], batch.clean.shape[0]
    return jax.vmap(jax.vmap(one, (None, 0, 0)), (0, 0, None))(params, jax.random.split(key, (models, count)), jnp.asarray(batch.clean))


def attacks(config: Config, shared: np.ndarray, own: np.ndarray, learned: Halves, shuffled: Halves) -> dict[str, Scored]:
    """Every attack on the targets, by its name.

    shared, own: (models, n) losses at shared draws and at draws of their own, shadow models first. shuffled: halves that nobody learned.
    """

    def ratio(losses: np.ndarray, of: Halves = learned, **options: Any) -> Scored:
        shadows, targets = -losses[: config.shadows], -losses[config.shadows :]
        scores = [membership.lira(target, shadows, of.shadows, **options) for target in targets]
        return Scored(np.stack(scores, 1), of.targets.T)

    plain = np.stack([membership.loss_attack(target) for target in shared[config.shadows :]], 1)
    return {
        LOSS: Scored(plain, learned.targets.T),
        LIRA: ratio(shared),
        EACH: ratio(shared, variance="per_example"),
        OFFLINE: ratio(shared, offline=True),
        OWN: ratio(own),
        SHUFFLED: ratio(shared, shuffled),
    }


def resolved(attacks: dict[str, Scored], count: int = 60) -> np.ndarray:
    """(count,) false positive rates from the least one that the non-members of every attack resolve."""
    return np.geomspace(1 / min(int(np.sum(~scored.members)) for scored in attacks.values()), 0.9, count)


def _attacked(config: Config, params: Params, losses: list[Any], images: np.ndarray, seed: int) -> Found:
    options: dict[str, Any] = {"draws": config.draws, "together": TOGETHER}
    shared, own = (membership.example_losses(jax.random.key(seed), loss, params, diffusion.Batch(images), **options) for loss in losses)
    learned, shuffled = (train.halves(config, len(images), seed, shuffled=shuffled) for shuffled in (False, True))
    target = shared[config.shadows :]
    found = attacks(config, shared, own, learned, shuffled)
    return Found(found, float(target[learned.targets].mean()), float(target[~learned.targets].mean()))


def claims_of(config: Config, seed: int, found: Found) -> Iterator[Claim]:
    """Those of one seed."""
    loss, ratio, shuffled = (found.attacks[name] for name in (LOSS, LIRA, SHUFFLED))
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=ratio.members.size, figure="roc.png")
    share = f"{100 * config.fpr:g} %"

    def interval(statistic: Any, *rows: np.ndarray) -> Number:
        """Pictures are drawn with all of their targets."""
        return intervals.interval(statistic, *rows, paired=True, resamples=config.resamples)

    def rate(scores: np.ndarray, members: np.ndarray) -> float:
        return Scored(scores, members).rate(config.fpr).value

    gain = interval(lambda one, other, of: rate(one, of) - rate(other, of), ratio.scores, loss.scores, ratio.members)
    yield claim("gain", f"true positive rate of LiRA less that of the loss attack, at false positive rate {share}", gain, ">=")
    chance = interval(rate, shuffled.scores, shuffled.members)
    yield claim("chance", f"true positive rate of LiRA with shuffled membership at {share}", chance, "<=", kind="control")
    area = interval(lambda scores, of: Scored(scores, of).auc, shuffled.scores, shuffled.members)
    statement = "distance of the area under its ROC curve from 0.5"
    yield claim("chance-auc", statement, verdicts.away(area, 0.5), "<=", kind="control")


def _table(config: Config, found: list[Found]) -> Table:
    rows: list[tuple[str | float, ...]] = []
    for name in found[0].attacks:
        attacks = [of.attacks[name] for of in found]
        means = [float(np.mean([each.auc for each in attacks]))]
        means += [float(np.mean([each.rate(fpr).value for each in attacks])) for fpr in (config.fpr, config.fine_fpr)]
        rows.append((name, *means))
    resolution = max(of.attacks[LOSS].rate(config.fpr).resolution for of in found)
    seen, unseen = (float(np.mean([getattr(of, name) for of in found])) for name in ("seen", "unseen"))
    note = (
        f"Targets have a mean loss of {seen:.4f} on members and {unseen:.4f} on others. "
        f"The others of all targets of a seed resolve false positive rates down to {resolution:.2g}."
    )
    columns = ("attack", "area under ROC", *(f"true positives at {100 * fpr:g} %" for fpr in (config.fpr, config.fine_fpr)))
    return Table("Attacks on members, means over seeds.", columns, tuple(rows), note=note, main=True)


def _plot(config: Config, folder: RunFolder, found: Found) -> Figure:
    """Both axes are logarithmic: what counts is on the left."""
    grid = resolved(found.attacks)
    curves = [
        figures.Curve(name, grid, [scored.rate(fpr).value or np.nan for fpr in grid])
        for name, scored in found.attacks.items()
        if name not in (OFFLINE, OWN)
    ]
    chance = figures.Curve("chance", grid, grid)
    caption = f"True positive rate against false positive rate, seed {config.seeds[0]}."
    labels: Any = {"x_label": "false positive rate", "y_label": "true positive rate", "log_x": True, "log_y": True}
    return figures.curves([*curves, chance], folder.figure("roc"), caption, **labels)
