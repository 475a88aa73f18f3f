"""The membership experiment finds what was planted, and nothing where nothing was."""

import dataclasses

import numpy as np
import pytest

from experiments.provenance import membership
from experiments.provenance.membership import judge, train

FULL = dataclasses.replace(membership.EXPERIMENT.presets["full"], resamples=50)
PICTURES = 1347


def claims(effect):
    """Claims and attacks on losses that members have lower by an effect, in units of the models' spread; pictures differ by much more."""
    learned, shuffled = (train.halves(FULL, PICTURES, 0, shuffled=each) for each in (False, True))
    rng = np.random.default_rng(1)
    losses = 10 + 3 * rng.normal(size=PICTURES)[None] + rng.normal(size=learned.every.shape) - effect * learned.every
    attacks = judge.attacks(FULL, losses, losses, learned, shuffled)
    return {claim.id: claim for claim in judge.claims_of(FULL, 0, judge.Found(attacks, 0.0, 0.0))}, attacks


def test_a_planted_effect_is_found_by_lira_alone_and_shuffling_removes_it():
    found, attacks = claims(effect=2.0)
    assert {claim.verdict for claim in found.values()} == {"PASS"} and found["gain"].value > 0.1
    assert attacks[judge.LIRA].auc > 0.85 > 0.7 > attacks[judge.LOSS].auc > 0.55


def test_without_an_effect_there_is_no_gain():
    found, attacks = claims(effect=0.0)
    assert found["gain"].verdict != "PASS" and abs(attacks[judge.LIRA].auc - 0.5) < 0.03


def test_every_attack_resolves_the_rates_of_the_plot_whatever_its_number_of_non_members():
    attacks = claims(effect=0.0)[1]
    assert attacks[judge.SHUFFLED].members.sum() != attacks[judge.LOSS].members.sum()
    grid = judge.resolved(attacks)
    assert all(scored.rate(fpr).fpr == fpr for scored in attacks.values() for fpr in (grid[0], grid[-1]))
    assert len({scored.rate(grid[0]).resolution for scored in attacks.values()} & {grid[0]}) == 1  # the least of them is reached


def test_each_picture_is_in_half_of_the_shadow_models_and_in_targets_by_chance():
    learned, again = train.halves(FULL, PICTURES, 3), train.halves(FULL, PICTURES, 3)
    assert (learned.shadows.sum(0) == FULL.shadows // 2).all()
    np.testing.assert_array_equal(learned.every, again.every)
    assert abs(learned.targets.mean() - 0.5) < 4 * 0.5 / learned.targets.size**0.5
    shuffled = train.halves(FULL, PICTURES, 3, shuffled=True)
    assert np.mean(shuffled.every == learned.every) == pytest.approx(0.5, abs=0.02)
