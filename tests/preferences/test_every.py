"""What every function of (samples, steps) keeps: padding is never read, any order of samples, no stray gradient,
ranges, and dtypes.
"""

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
from tests.refusals import Ends, ends
from tests.tables import table

B, S, V = 6, 5, 3
RNG = np.random.default_rng(0)
MASK = np.array([[0, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
ORDER = np.array([3, 5, 0, 1, 4, 2])
STEPS = {
    name: RNG.normal(size=(B, S)).astype(np.float32)
    for name in ("log_probs", "reference", "advantages", "values", "returns")
}
STEPS["logits"] = RNG.normal(size=(B, S, V)).astype(np.float32)
WHOLE = {
    name: RNG.normal(size=B).astype(np.float32)
    for name in ("chosen", "rejected", "reference_chosen", "reference_rejected", "scores")
}
WHOLE["answers"] = RNG.normal(size=(B, 4)).astype(np.float32)
RANKING = np.stack([RNG.permutation(4) for _ in range(B)]).astype(np.int32)
STEP_WEIGHT = np.cos(np.arange(S, dtype=np.float32))[None]
GROUPS = np.array([7, 2, 7, 2, 2, 7], np.int32)
FIXED = {"mask": MASK, "ranking": RANKING, "groups": GROUPS}


class Number(NamedTuple):
    """One that is the same for all samples, with its range, whose ends belong to it or not."""

    value: float
    low: float
    high: float = np.inf
    open_low: bool = False
    open_high: bool = False


class Member(NamedTuple):
    """A function of arrays by name, which are floating but for `fixed`, and of numbers.

    `still` are the arrays and numbers that no gradient reaches.
    """

    function: Callable
    steps: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ("mask",)
    numbers: dict[str, Number] = {}
    still: tuple[str, ...] = ()


CLIP = {"clip": Number(0.2, 0.0, open_low=True)}
BETA = {"beta": Number(0.5, 0.0, open_low=True, open_high=True)}
REFERENCES = ("reference_chosen", "reference_rejected")
PAIRS = ("chosen", "rejected", *REFERENCES)
MEMBERS = {
    "clipped_policy_gradient": Member(
        preferences.clipped_policy_gradient,
        ("log_probs", "reference", "advantages"),
        numbers=CLIP,
        still=("reference", "advantages"),
    ),
    "value_loss": Member(
        preferences.value_loss, ("values", "log_probs", "returns"), numbers=CLIP, still=("log_probs", "returns")
    ),
    "entropy": Member(policy_gradient.entropy, ("logits",)),
    "kl_estimates": Member(preferences.kl_estimates, ("log_probs", "reference")),
    "shaped_rewards": Member(
        lambda log_probs, reference, scores, mask, beta: preferences.shaped_rewards(
            scores, log_probs, reference, mask, beta
        ),
        ("log_probs", "reference"),
        ("scores",),
        numbers={"beta": Number(0.3, 0.0, open_high=True)},
    ),
    "gae": Member(
        lambda rewards, values, mask, gamma, lam: preferences.gae(rewards, values, mask, gamma=gamma, lam=lam),
        ("returns", "values"),
        numbers={"gamma": Number(0.9, 0.0, 1.0), "lam": Number(0.8, 0.0, 1.0)},
        still=("returns", "values"),
    ),
    "whitened": Member(preferences.whitened, ("values",)),
    "sequence_log_probs": Member(direct.sequence_log_probs, ("log_probs",)),
    "mean": Member(masked.mean, ("values",)),
    "group_relative": Member(preferences.group_relative, (), ("scores",), ("groups",), still=("scores",)),
    "bradley_terry": Member(preferences.bradley_terry, (), ("answers",), ("ranking",)),
    "dpo": Member(
        lambda *pairs: preferences.dpo(*pairs[:4], beta=pairs[4], label_smoothing=pairs[5]),
        (),
        PAIRS,
        (),
        BETA | {"label_smoothing": Number(0.1, 0.0, 0.5, open_high=True)},
        REFERENCES,
    ),
    "diffusion_dpo": Member(
        lambda *pairs: preferences.diffusion_dpo(*pairs[:4], beta=pairs[4]), (), PAIRS, (), BETA, REFERENCES
    ),
    "ipo": Member(lambda *pairs: preferences.ipo(*pairs[:4], beta=pairs[4]), (), PAIRS, (), BETA, REFERENCES),
    "kto": Member(
        lambda *pairs: preferences.kto(
            *pairs[:4], beta=pairs[4], point=pairs[5], chosen_weight=pairs[6], rejected_weight=pairs[7]
        ),
        (),
        PAIRS,
        (),
        BETA
        | {
            name: Number(value, 0.0, open_high=True)
            for name, value in (("point", 0.1), ("chosen_weight", 1.5), ("rejected_weight", 1.0))
        },
        (*REFERENCES, "point"),
    ),
}
all_members = table("name", MEMBERS)


def filled(name, content):
    """Values of the steps, with `content` where the policy did not act."""
    values = STEPS[name]
    return np.where(MASK.reshape(MASK.shape + (1,) * (values.ndim - 2)) != 0, values, np.float32(content))


def inputs(member, content=0.0, order=slice(None), end=None):
    """(arrays, arrays of integers, numbers) of one case: of the numbers' values, or of the ends "low" or "high" that
    belong to them.
    """
    free = [filled(name, content)[order] for name in member.steps] + [WHOLE[name][order] for name in member.whole]
    ends = [
        getattr(number, end) if end and not getattr(number, f"open_{end}") else number.value
        for number in member.numbers.values()
    ]
    return free, [FIXED[name][order] for name in member.fixed], [np.float32(number) for number in ends]


@functools.cache
def measured(name):
    """By case: what the function answers, and the gradients of a weighted sum of it all. One program maps over the
    cases.
    """
    member = MEMBERS[name]

    def both(free, fixed, numbers):
        def summed(free, numbers):
            answer = member.function(*free, *fixed, *numbers)
            return sum(
                jnp.sum(leaf * STEP_WEIGHT if leaf.ndim == 2 else leaf) for leaf in jax.tree.leaves(answer)
            ), answer

        (_, answer), (gradient, by_number) = jax.value_and_grad(summed, (0, 1), has_aux=True)(free, numbers)
        return answer, gradient, by_number

    cases = {"clean": inputs(member), "dirty": inputs(member, np.nan), "moved": inputs(member, np.nan, ORDER)}
    cases |= {end: inputs(member, end=end) for end in ("low", "high")}
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *cases.values())
    answers = jax.tree.map(np.asarray, quickly(jax.vmap(both))(*stacked))
    return {case: jax.tree.map(lambda leaf, at=at: leaf[at], answers) for at, case in enumerate(cases)}


@all_members
def test_no_gradient_reaches_what_is_fixed_and_one_reaches_all_else(name):
    member, (_, *gradients) = MEMBERS[name], measured(name)["clean"]
    reached = dict(zip((*member.steps, *member.whole, *member.numbers), sum(gradients, []), strict=True))
    assert {name for name, gradient in reached.items() if not gradient.any()} == set(member.still)


@all_members
def test_values_and_gradients_are_finite_at_the_ends_of_the_ranges_of_numbers(name):
    assert all(np.isfinite(leaf).all() for end in ("low", "high") for leaf in jax.tree.leaves(measured(name)[end][:2]))


def taking(member, name):
    """A number of a member -> what it answers with it, traced."""
    free, fixed, _ = inputs(member)
    usual = {each: number.value for each, number in member.numbers.items()}

    def take(value):
        numbers = (usual | {name: value}).values()
        return jax.eval_shape(lambda free: member.function(*free, *fixed, *numbers), free)

    return take


test_numbers_may_be_the_ends_of_their_ranges_and_nothing_beyond_them = ends(
    *(
        Ends(taking(member, name), name, *number[1:])
        for member in MEMBERS.values()
        for name, number in member.numbers.items()
    )
)


@all_members
def test_what_stands_where_the_policy_did_not_act_changes_neither_value_nor_gradient(name):
    clean, dirty = measured(name)["clean"], measured(name)["dirty"]
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        assert np.all(np.isfinite(one))
        np.testing.assert_array_equal(one, other)


@all_members
def test_samples_may_stand_in_any_order(name):
    clean, moved = measured(name)["clean"], measured(name)["moved"]
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(other, one[ORDER] if one.ndim else one, rtol=2e-5, atol=1e-6)


@all_members
@pytest.mark.float64
def test_single_precision_is_the_least_and_64_bits_stay(name):
    member = MEMBERS[name]
    for narrow, wide in ((jnp.bfloat16, jnp.float32), (np.float32, np.float32), (np.float64, np.float64)):
        free, fixed, numbers = inputs(member)
        answer = jax.eval_shape(
            lambda free, fixed=fixed, numbers=numbers: member.function(*free, *fixed, *numbers),
            [jax.ShapeDtypeStruct(array.shape, narrow) for array in free],
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(answer)} == {np.dtype(wide)}


def test_every_function_of_the_chapter_is_in_the_table_or_takes_no_samples_and_steps():
    """A new one that is missing there is not tested."""
    other = {"adaptive_beta", "disagreement", "normaliser", "preference"}
    functions = {name for name in preferences.__all__ if callable(getattr(preferences, name))}
    assert {name for name in functions if getattr(preferences, name).__module__ in OF_STEPS} <= {*MEMBERS, *other}


OF_STEPS = {
    f"gendiff.preferences.{name}"
    for name in ("advantages", "bradley_terry", "denoising", "direct", "kl", "policy_gradient")
}
