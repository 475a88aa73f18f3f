"""What every function of (samples, steps) keeps: padding is never read, any order of samples, numbers as data, and dtypes."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import preferences
from gendiff.preferences import direct, masked, policy_gradient
from tests.quickly import quickly

B, S, V = 6, 5, 3
RNG = np.random.default_rng(0)
MASK = np.array([[0, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
ORDER = np.array([3, 5, 0, 1, 4, 2])
STEPS = {name: RNG.normal(size=(B, S)).astype(np.float32) for name in ("log_probs", "reference", "advantages", "values", "returns")}
STEPS["logits"] = RNG.normal(size=(B, S, V)).astype(np.float32)
WHOLE = {name: RNG.normal(size=B).astype(np.float32) for name in ("chosen", "rejected", "reference_chosen", "reference_rejected", "scores")}
WHOLE["answers"] = RNG.normal(size=(B, 4)).astype(np.float32)
RANKING = np.stack([RNG.permutation(4) for _ in range(B)]).astype(np.int32)
GROUPS = np.array([7, 2, 7, 2, 2, 7], np.int32)
FIXED = {"mask": MASK, "ranking": RANKING, "groups": GROUPS}


class Member(NamedTuple):
    """A function of arrays by name: `steps` and `whole` have a gradient, `fixed` have none, `numbers` are the same for all samples."""

    function: Callable
    steps: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ("mask",)
    numbers: tuple[float, ...] = ()


PAIRS = ("chosen", "rejected", "reference_chosen", "reference_rejected")
MEMBERS = {
    "clipped_policy_gradient": Member(preferences.clipped_policy_gradient, ("log_probs", "reference", "advantages"), numbers=(0.2,)),
    "value_loss": Member(preferences.value_loss, ("log_probs", "values", "returns"), numbers=(0.5,)),
    "entropy": Member(policy_gradient.entropy, ("logits",)),
    "kl_estimates": Member(preferences.kl_estimates, ("log_probs", "reference")),
    "shaped_rewards": Member(
        lambda log_probs, reference, scores, mask, beta: preferences.shaped_rewards(scores, log_probs, reference, mask, beta),
        ("log_probs", "reference"),
        ("scores",),
        numbers=(0.3,),
    ),
    "gae": Member(
        lambda rewards, values, mask, gamma, lam: preferences.gae(rewards, values, mask, gamma=gamma, lam=lam),
        ("returns", "values"),
        numbers=(0.9, 0.8),
    ),
    "whitened": Member(preferences.whitened, ("values",)),
    "sequence_log_probs": Member(direct.sequence_log_probs, ("log_probs",)),
    "mean": Member(masked.mean, ("values",)),
    "group_relative": Member(preferences.group_relative, (), ("scores",), ("groups",)),
    "bradley_terry": Member(preferences.bradley_terry, (), ("answers",), ("ranking",)),
    "dpo": Member(lambda *pairs: preferences.dpo(*pairs[:4], beta=pairs[4], label_smoothing=pairs[5]), (), PAIRS, (), numbers=(0.5, 0.1)),
    "diffusion_dpo": Member(lambda *pairs: preferences.diffusion_dpo(*pairs[:4], beta=pairs[4]), (), PAIRS, (), numbers=(0.5,)),
    "ipo": Member(lambda *pairs: preferences.ipo(*pairs[:4], beta=pairs[4]), (), PAIRS, (), numbers=(0.5,)),
    "kto": Member(lambda *pairs: preferences.kto(*pairs[:4], beta=pairs[4], point=pairs[5]), (), PAIRS, (), numbers=(0.5, 0.1)),
}
every = pytest.mark.parametrize("name", MEMBERS)


def filled(name, content):
    """Values of the steps, with `content` where the policy did not act."""
    values = STEPS[name]
    return np.where(MASK.reshape(MASK.shape + (1,) * (values.ndim - 2)) != 0, values, np.float32(content))


def given(member, content=0.0, order=slice(None)):
    """(arrays with a gradient, arrays without one, numbers) of one case."""
    free = [filled(name, content)[order] for name in member.steps] + [WHOLE[name][order] for name in member.whole]
    return free, [FIXED[name][order] for name in member.fixed], [np.float32(number) for number in member.numbers]


@functools.cache
def measured(name):
    """By case: what the function answers, and the gradient of the sum of it all. One program maps over the cases."""
    member = MEMBERS[name]

    def both(free, fixed, numbers):
        def summed(free):
            answer = member.function(*free, *fixed, *numbers)
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(answer)), answer

        (_, answer), gradient = jax.value_and_grad(summed, has_aux=True)(free)
        return answer, gradient

    cases = {"clean": given(member), "dirty": given(member, np.nan), "moved": given(member, np.nan, ORDER)}
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *cases.values())
    answers = jax.tree.map(np.asarray, quickly(jax.vmap(both))(*stacked))
    return {case: jax.tree.map(lambda leaf, at=at: leaf[at], answers) for at, case in enumerate(cases)}


@every
def test_what_stands_where_the_policy_did_not_act_changes_neither_value_nor_gradient(name):
    clean, dirty = measured(name)["clean"], measured(name)["dirty"]
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        assert np.all(np.isfinite(one))
        np.testing.assert_array_equal(one, other)


@every
def test_samples_may_stand_in_any_order(name):
    clean, moved = measured(name)["clean"], measured(name)["moved"]
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(other, one[ORDER] if one.ndim else one, rtol=2e-5, atol=1e-6)


@every
@pytest.mark.float64
def test_single_precision_is_the_least_and_64_bits_stay(name):
    member = MEMBERS[name]
    for narrow, wide in ((jnp.bfloat16, jnp.float32), (np.float32, np.float32), (np.float64, np.float64)):
        free, fixed, numbers = given(member)
        answer = jax.eval_shape(
            lambda free, fixed=fixed, numbers=numbers: member.function(*free, *fixed, *numbers),
            [jax.ShapeDtypeStruct(array.shape, narrow) for array in free],
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(answer)} == {np.dtype(wide)}


def test_every_function_of_the_chapter_is_in_the_table_or_takes_no_samples_and_steps():
    """A new one that is missing there is not tested."""
    other = {"adaptive_beta", "disagreement", "normaliser", "preference"}
    own = {name for name in preferences.__all__ if callable(getattr(preferences, name))}
    assert {name for name in own if getattr(preferences, name).__module__ in OF_STEPS} <= {*MEMBERS, *other}


OF_STEPS = {f"gendiff.preferences.{name}" for name in ("advantages", "bradley_terry", "denoising", "direct", "kl", "policy_gradient")}
