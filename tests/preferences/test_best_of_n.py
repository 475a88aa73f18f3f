"""The best of n has its exact law, candidates do not know how many there are, and equal scores are chosen at random."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gendiff import preferences
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

SEED = 3
P = np.array([0.1, 0.3, 0.05, 0.35, 0.2], np.float32)
REWARDS = np.array([1.0, 0.0, 2.0, 1.0, -1.0], np.float32)
choose = quickly(preferences.best_of_n)
law = quickly(preferences.best_of_n_law, static_argnums=2)


def test_chosen_outcomes_have_the_law_of_powers_of_f():
    """Outcomes 0 and 3 are equally good, so that ties count."""
    samples = np.random.default_rng(0).choice(5, (20_000, 4), p=P / P.sum())
    chosen = np.asarray(choose(jax.random.key(SEED), REWARDS[samples]))
    counts = np.bincount(np.take_along_axis(samples, chosen[:, None], 1)[:, 0], minlength=5)
    expected = np.asarray(law(P, REWARDS, 4), np.float64)
    assert scipy.stats.chisquare(counts, 20_000 * expected / expected.sum()).pvalue > 1e-3
    first = np.bincount(samples[:, 0], minlength=5)  # the control: not choosing has another law
    assert scipy.stats.chisquare(first, 20_000 * expected / expected.sum()).pvalue < 1e-9


def test_the_law_is_the_sum_over_all_draws():
    expected = np.zeros(5)
    for draw in itertools.product(range(5), repeat=3):
        best = [at for at in draw if REWARDS[at] == REWARDS[list(draw)].max()]
        for at in best:
            expected[at] += np.prod(P[list(draw)]) / len(best)
    np.testing.assert_allclose(law(P, REWARDS, 3), expected, rtol=1e-5)
    both = law(np.stack([P, P[::-1]]), np.stack([REWARDS, REWARDS[::-1]]), 3)
    np.testing.assert_allclose(both[1], expected[::-1], rtol=1e-5)


def test_one_candidate_is_the_model_itself():
    np.testing.assert_allclose(law(P, REWARDS, 1), P, rtol=1e-6)
    np.testing.assert_array_equal(choose(jax.random.key(SEED), REWARDS[:, None]), 0)
    never = np.array([0.5, 0.5, 0.0], np.float32)
    np.testing.assert_allclose(law(never, np.array([0.0, 1.0, 9.0], np.float32), 2), [0.25, 0.75, 0.0])


@pytest.mark.float64
@table("n", [2, 16])
def test_kl_is_below_its_bound_and_reaches_it_where_no_outcome_is_likely(n):
    def kl(p, rewards):
        return scipy.special.rel_entr(np.asarray(law(p, rewards, n)), p).sum()

    assert kl(P.astype(np.float64), REWARDS.astype(np.float64)) <= preferences.kl_bound(n)
    fine = kl(np.full(1500, 1 / 1500), np.arange(1500.0))
    assert fine <= preferences.kl_bound(n) + 1e-12 and fine == pytest.approx(preferences.kl_bound(n), abs=0.02)


def test_the_bound_is_that_of_the_formula():
    np.testing.assert_allclose(preferences.kl_bound(16), 1.835, atol=5e-4)
    np.testing.assert_allclose(preferences.kl_bound(np.array([1, 4])), [0.0, np.log(4) - 0.75])


def test_a_candidate_does_not_know_how_many_there_are():
    def draw(key):
        return {"x": jax.random.normal(key, (3,))}

    many, few = (preferences.candidates(jax.random.key(SEED), draw, n)["x"] for n in (8, 3))
    np.testing.assert_array_equal(many[:3], few)
    np.testing.assert_array_equal(few[0], draw(jax.random.fold_in(jax.random.key(SEED), 0))["x"])
    assert len({float(x) for x in np.asarray(many).ravel()}) == 24


def test_a_further_candidate_changes_the_choice_only_by_being_chosen():
    scores = np.random.default_rng(1).integers(3, size=(20_000, 4)).astype(np.float32)  # many ties
    many, few = (
        np.asarray(choose(jax.random.key(SEED), scores)),
        np.asarray(choose(jax.random.key(SEED), scores[:, :3])),
    )
    assert (many == few)[many < 3].all() and (many < 3).any() and (many == 3).any()


def test_equal_scores_are_equally_likely_and_a_score_that_is_no_number_is_never_chosen():
    equal = np.zeros((20_000, 4), np.float32)
    equal[:, 2] = np.nan
    equal[:, 3] = -1
    counts = np.bincount(choose(jax.random.key(SEED), equal), minlength=4)
    assert counts[2] == counts[3] == 0 and scipy.stats.chisquare(counts[:2]).pvalue > 1e-3
    assert not np.array_equal(choose(jax.random.key(SEED), equal), choose(jax.random.key(4), equal))
    assert set(np.asarray(choose(jax.random.key(SEED), np.full_like(equal, np.nan))).tolist()) == {0, 1, 2, 3}
    worst = np.tile(np.float32([np.nan, -np.inf]), (20_000, 2))
    assert set(np.asarray(choose(jax.random.key(SEED), worst)).tolist()) == {1, 3}  # the least number is one


test_a_mistake_is_refused = refusals(
    (lambda: preferences.best_of_n(None, jnp.zeros((1, 2))), "key is None", TypeError),
    (
        lambda: preferences.best_of_n(jax.random.key(SEED), jnp.zeros((1, 2), jnp.int32)),
        "scores must be a floating",
        TypeError,
    ),
    (lambda: preferences.best_of_n(jax.random.key(SEED), jnp.zeros(2)), r"scores has shape \(2,\)"),
    (lambda: preferences.best_of_n(jax.random.key(SEED), jnp.zeros((2, 0))), r"scores has shape \(2, 0\)"),
    (lambda: preferences.candidates(jax.random.key(SEED), lambda key: key, 0), "n = 0"),
    (lambda: preferences.kl_bound(0), r"n = 0 is outside \[1"),
    (lambda: preferences.best_of_n_law(P, REWARDS, 0), "n = 0"),
    (lambda: preferences.best_of_n_law(P, REWARDS[:3], 2), "they must be equal"),
    (lambda: preferences.best_of_n_law(2 * P + 1, REWARDS, 2), "probabilities = .* is outside"),
)
