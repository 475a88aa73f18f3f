"""The rank of a key among exchangeable ones is uniform, with and without ties."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from gendiff.provenance import randomisation
from gendiff.provenance.randomisation import randomisation_p
from tests.quickly import quickly
from tests.refusals import refusals

SEED = 0


def test_p_is_the_rank_and_never_zero():
    others = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(randomisation_p(np.array([4.0, 2.0, 0.0, 2.0]), others), [0.25, 0.75, 1.0, 1.0])
    assert randomisation_p(np.array(5.0), np.array([1.0])) == 0.5
    np.testing.assert_array_equal(
        randomisation_p(np.arange(4.0).reshape(2, 2), np.full((2, 2, 1), 1.5)), [[1, 1], [0.5, 0.5]]
    )


def test_p_of_exchangeable_scores_is_uniform_on_its_lattice():
    draw = np.random.default_rng(0)
    scores = draw.standard_t(2, (10_000, 20)) * draw.lognormal(size=(10_000, 1))  # any law, another one in each row
    ranks = randomisation_p(scores[:, 0], scores[:, 1:]) * 20
    assert scipy.stats.chisquare(np.bincount(ranks.round().astype(int), minlength=21)[1:]).pvalue > 0.01


def test_ties_are_broken_by_chance_or_count_against_the_mark():
    scores = np.random.default_rng(0).integers(0, 2, (10_000, 20))
    fair = randomisation_p(scores[:, 0], scores[:, 1:], rng=np.random.default_rng(1)) * 20
    assert scipy.stats.chisquare(np.bincount(fair.round().astype(int), minlength=21)[1:]).pvalue > 0.01
    careful = randomisation_p(scores[:, 0], scores[:, 1:])
    assert np.all(careful >= fair / 20 - 1e-12)
    assert all(np.mean(careful <= level) <= level for level in np.arange(1, 20) / 20)
    ignored = np.mean(scores[:, 1:] > scores[:, :1], axis=1)  # a tie that counts for the mark accuses far too often
    assert np.mean(ignored <= 0.05) > 0.3


def test_fresh_keys_are_those_of_their_index():
    full, some = map(
        np.asarray,
        quickly(
            lambda: [
                randomisation.fresh_keys(jax.random.key(SEED), jnp.array(at), 7) for at in ([0, 1, 2, 3, 4], [3, 1])
            ]
        )(),
    )
    np.testing.assert_array_equal(some, full[[3, 1]])
    assert len(np.unique(full.reshape(-1, 2), axis=0)) == 35


test_mistakes_are_refused = refusals(
    (lambda: randomisation_p(np.zeros(3), np.zeros((2, 5))), "others has shape"),
    (lambda: randomisation_p(np.zeros(3), np.zeros(3)), "others has shape"),
    (lambda: randomisation_p(np.zeros(3), np.zeros((3, 0))), "with k of at least 1"),
    (lambda: randomisation_p(np.array([np.nan]), np.zeros((1, 2))), "score is not finite"),
    (lambda: randomisation_p(np.zeros(1), np.full((1, 2), np.inf)), "others is not finite"),
    (lambda: randomisation.fresh_keys(jax.random.key(SEED), jnp.arange(2), 0), "count = 0"),
)
