"""Membership inference: was an example among those that a model was trained on?

A score says how much an example looks like a member: higher means more. The loss attack takes minus the loss. The
likelihood-ratio attack (LiRA) compares the loss with what shadow models say of the same example, models that are
trained like the target with and without it.

A model is a function (params, key, batch) -> (n,), the loss of each example. `per_example` makes it of any loss of this
library, so that one call serves diffusion models and language models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
import scipy
from jaxtyping import Bool, Float64, Shaped

from gendiff.core import checks, records
from gendiff.core.errors import NonFiniteError
from gendiff.core.types import ArrayLike, Loss, Params, PyTree
from gendiff.provenance.attack_rates import TruePositiveRate, auc, check_resolution, tpr_at_fpr

VARIANCES = ("per_example", "global")
ExampleLoss = Callable[[Params, jax.Array, PyTree], jax.Array]
"""(params, key, batch) -> (n,), the loss of each example of a batch."""


@records.record
class PerExample:
    """The loss of each example. Built by `per_example`."""

    loss: Loss

    def __call__(self, params: Params, key: jax.Array, batch: PyTree) -> jax.Array:
        """Answer (n,), the loss of each example; all of them get the same key."""
        losses: jax.Array = jax.vmap(lambda one: self.loss(params, key, jax.tree.map(lambda leaf: leaf[None], one))[0])(
            batch
        )
        return losses


@dataclass(frozen=True)
class Attack:
    """The rates of a membership attack.

    Args:
        members: (n,) scores of the members.
        non_members: (m,) scores of the others.
        auc: area under the ROC curve. It hides what counts: how many members are found with few false alarms.
        rates: true positive rates, one per false positive rate.
    """

    members: np.ndarray
    non_members: np.ndarray
    auc: float
    rates: tuple[TruePositiveRate, ...]


@dataclass(frozen=True)
class MembershipReport:
    """The results of membership attacks.

    Args:
        loss: the loss attack.
        lira: the likelihood-ratio attack; None without shadow models.
    """

    loss: Attack
    lira: Attack | None


def per_example(loss: Loss) -> ExampleLoss:
    """Turn a loss of batches into one per example, with the same random draws for every example.

    It serves `diffusion.objectives.denoising` (with `drop_condition=0.0`: a dropped condition is noise here) and
    `language.objective.next_token`. Where draws differ between examples, their spread hides the members.

    Args:
        loss: (params, key, batch) -> (scalar, metrics), of batches whose leaves all have the examples as first axis.
    """
    return PerExample(loss)


def example_losses(
    key: jax.Array, loss: ExampleLoss, params: Params, batch: PyTree, *, draws: int = 16, together: int = 256
) -> Float64[np.ndarray, "*models n"]:
    """Mean loss of each example over shared draws.

    Draws are the same for all examples, all parameters and all calls with this key. That holds for a loss of
    `per_example`.

    Args:
        key: of the draws.
        loss: best under `jax.jit`. It may also answer (models, n), such as `jax.vmap(loss, (0, None, None))` for
            stacked parameters.
        params: of the model.
        batch: a pytree of arrays (n, …).
        draws: how many keys; 1 is enough for a loss without chance.
        together: examples per call. The last call repeats an example until it is full, so that one program serves all.

    Raises:
        TypeError: for a loss that does not answer one number per example.
        NonFiniteError: for a loss that is not finite.
    """
    checks.one_key("key", key)
    checks.integer("draws", draws, 1)
    checks.integer("together", together, 1)
    count = _count("batch", batch)
    size = min(together, count)
    parts = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        part = jax.tree.map(lambda leaf, rows=rows: leaf[rows], batch)
        answers = [_answer(loss(params, jax.random.fold_in(key, draw), part), size) for draw in range(draws)]
        parts.append(np.mean(answers, 0)[..., : count - start])
    losses = np.concatenate(parts, -1)
    if not np.all(np.isfinite(losses)):
        raise NonFiniteError(
            f"{int(np.sum(~np.isfinite(losses)))} of {losses.size} losses are not finite: nothing can be said of "
            "members"
        )
    return losses


def loss_attack(losses: Shaped[ArrayLike, "n"]) -> Float64[np.ndarray, "n"]:
    """Score examples by minus their loss.

    Args:
        losses: (n,) of the target model.

    References:
        Yeom et al., 2018, section 3 (from memory).
    """
    return -_finite("losses", losses)


def lira(
    observed: Shaped[ArrayLike, "n"],
    shadows: Shaped[ArrayLike, "models n"],
    inside: Bool[ArrayLike, "models n"],
    *,
    variance: str = "global",
    offline: bool = False,
) -> Float64[np.ndarray, "n"]:
    """Score examples by the likelihood ratio of a target model's statistic, fitted on shadow models (LiRA).

    The score is log N(φ; mean_in, sd_in) − log N(φ; mean_out, sd_out) for a statistic φ, such as minus the loss at
    fixed draws. Means are of the shadow models that hold the example, and of those that do not. Each of the two has a
    deviation of its own, in both modes.

    Args:
        observed: (n,) φ of the target model.
        shadows: (models, n) φ of the shadow models, at the same draws.
        inside: (models, n) whether a shadow model was trained on an example.
        variance: "per_example" needs two models on each side of every example, and many for a good estimate. "global"
            pools deviations from the examples' own means over all examples.
        offline: use models without the example alone: −log P(Z > φ) for Z from N(mean_out, sd_out). `inside` may then
            hold no True.

    Raises:
        TypeError: for an `inside` that holds no booleans.
        ValueError: for shapes that differ, too few models on a side of an example, models that do not differ, and
            numbers that are not finite.

    References:
        Carlini et al., 2022, Algorithm 1 and Eq. 4 (from memory).
    """
    checks.choice("variance", variance, VARIANCES)
    phi, table, mask = _finite("observed", observed), _finite("shadows", shadows), np.asarray(inside)
    if mask.dtype != bool:
        raise TypeError(f"inside must hold booleans, got {mask.dtype}")
    checks.same_shape("shadows", table, "inside", mask)
    if table.ndim != 2 or table.shape[1:] != phi.shape:
        raise ValueError(f"observed has shape {phi.shape} and shadows {table.shape}: (n,) and (models, n) are needed")
    mean_out, sd_out = _fitted("without", table, ~mask, variance)
    if offline:
        score: np.ndarray = -scipy.stats.norm.logsf(phi, mean_out, sd_out)
    else:
        mean_in, sd_in = _fitted("with", table, mask, variance)
        score = scipy.stats.norm.logpdf(phi, mean_in, sd_in) - scipy.stats.norm.logpdf(phi, mean_out, sd_out)
    return score


def membership(
    key: jax.Array,
    loss: ExampleLoss,
    params: Params,
    members: PyTree,
    non_members: PyTree,
    *,
    shadows: Sequence[Params] = (),
    inside: Bool[ArrayLike, "models n"] | None = None,
    fpr: Sequence[float] = (0.01,),
    draws: int = 16,
    together: int = 256,
    variance: str = "global",
    offline: bool = False,
) -> MembershipReport:
    """Measure how well the members of a training set can be told from examples that the model has not seen.

    Both sets must come from one source. Otherwise the attack tells the sources apart, and not the members.

    Args:
        key: of the draws, which all examples and all models share.
        loss: (params, key, batch) -> (n,), best `jax.jit(per_example(…))`.
        params: of the target model.
        members: a batch, a pytree of arrays (n, …), of examples that it was trained on.
        non_members: a batch of the same structure.
        shadows: parameters of shadow models. With none, the loss attack alone is measured.
        inside: (models, members + non-members) whether a shadow model was trained on an example, members first.
        fpr: false positive rates, each at least 1 / number of non-members.
        draws: as of `example_losses`.
        together: as of `example_losses`.
        variance: as of `lira`.
        offline: as of `lira`.

    Raises:
        TypeError: as `example_losses` does.
        ValueError: for rates that are finer than the non-members resolve, shadows without `inside`, and as `lira` does.
        NonFiniteError: as `example_losses` does.
    """
    first, second = _count("members", members), _count("non_members", non_members)
    for rate in fpr:
        check_resolution(rate, second)
    shape = () if inside is None else np.shape(inside)
    if shape != ((len(shadows), first + second) if len(shadows) else ()):
        raise ValueError(
            f"inside has shape {shape}: {(len(shadows), first + second)} is needed for so many shadow models and "
            "examples"
        )
    batch = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), members, non_members)

    def losses(params: Params) -> np.ndarray:
        return example_losses(key, loss, params, batch, draws=draws, together=together)

    target = losses(params)
    attack = _attack(loss_attack(target), first, fpr)
    if inside is None:
        return MembershipReport(attack, None)
    of_shadows = np.stack([losses(shadow) for shadow in shadows])
    return MembershipReport(
        attack, _attack(lira(-target, -of_shadows, inside, variance=variance, offline=offline), first, fpr)
    )


def _attack(scores: np.ndarray, members: int, fpr: Sequence[float]) -> Attack:
    inner, outer = scores[:members], scores[members:]
    return Attack(inner, outer, auc(inner, outer), tuple(tpr_at_fpr(inner, outer, rate) for rate in fpr))


def _fitted(side: str, table: np.ndarray, mask: np.ndarray, variance: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (n,) of the models of a mask."""
    counts = mask.sum(0)
    least = 2 if variance == "per_example" else 1
    if not counts.size or counts.min() < least or np.sum(counts - 1) < 1:
        raise ValueError(
            f"{int(np.sum(counts < least))} of {counts.size} examples have less than {least} shadow models {side} "
            "them, and a deviation needs two of one example: train more, or on random halves"
        )
    mean = np.sum(np.where(mask, table, 0.0), 0) / counts
    squares = np.sum(np.where(mask, table - mean, 0.0) ** 2, 0)
    sd = np.sqrt(squares / (counts - 1) if variance == "per_example" else np.sum(squares) / np.sum(counts - 1))
    if np.any(sd == 0):
        raise ValueError(
            f"shadow models {side} an example do not differ in it: the deviation is 0, and no likelihood is finite"
        )
    return mean, np.broadcast_to(sd, mean.shape)


def _finite(name: str, values: ArrayLike) -> np.ndarray:
    checks.finite(name, values)
    return np.asarray(values, np.float64)


def _count(name: str, batch: PyTree) -> int:
    sizes = {np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(batch)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            f"{name} must hold arrays of equally many examples, at least one, got {sorted(sizes) or 'none'}"
        )
    return sizes.pop()


def _answer(losses: ArrayLike, size: int) -> np.ndarray:
    answer = np.asarray(losses, np.float64)
    if not answer.ndim or answer.shape[-1] != size:
        raise TypeError(
            f"the loss answered shape {answer.shape} to {size} examples: wrap a loss of batches in "
            "membership.per_example"
        )
    return answer
