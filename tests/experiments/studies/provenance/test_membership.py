"""The membership experiment finds what was planted, and nothing where nothing was."""

import dataclasses

import numpy as np
import pytest

from experiments.provenance import membership
from gendiff.runs.study import Measurements

FULL = dataclasses.replace(membership.EXPERIMENT.presets["full"], resamples=50)
PICTURES = 1347


def claims(effect):
    """Claims and attacks on losses that members have lower by an effect, in units of the models' spread; pictures
    differ by much more.
    """
    learned, shuffled = (membership.halves(FULL, PICTURES, 0, shuffled=each) for each in (False, True))
    rng = np.random.default_rng(1)
    losses = 10 + 3 * rng.normal(size=PICTURES)[None] + rng.normal(size=learned.both.shape) - effect * learned.both
    attacks = membership.attacks(FULL, losses, losses, learned, shuffled)
    measured = Measurements(membership.judge(FULL, 0, attacks))
    return {claim.id: claim for claim in membership.STUDY.judge(measured)}, attacks


def test_a_planted_effect_is_found_by_lira_alone_and_shuffling_removes_it():
    by_id, attacks = claims(effect=2.0)
    assert {claim.verdict for claim in by_id.values()} == {"PASS"} and by_id["gain"].value > 0.1
    assert attacks[membership.LIRA].auc > 0.85 > 0.7 > attacks[membership.LOSS].auc > 0.55


def test_without_an_effect_there_is_no_gain():
    by_id, attacks = claims(effect=0.0)
    assert by_id["gain"].verdict != "PASS" and abs(attacks[membership.LIRA].auc - 0.5) < 0.03


def test_every_attack_resolves_the_rates_of_the_plot_whatever_its_number_of_non_members():
    attacks = claims(effect=0.0)[1]
    assert attacks[membership.SHUFFLED].members.sum() != attacks[membership.LOSS].members.sum()
    grid = membership.resolved(attacks)
    assert all(np.isfinite(scored.rate(fpr)) for scored in attacks.values() for fpr in (grid[0], grid[-1]))
    assert grid[0] == 1 / min(np.sum(~scored.members) for scored in attacks.values())  # the least of them is reached


def test_each_picture_is_in_half_of_the_shadow_models_and_in_targets_by_chance():
    learned, again = membership.halves(FULL, PICTURES, 3), membership.halves(FULL, PICTURES, 3)
    assert (learned.shadows.sum(0) == FULL.shadows // 2).all()
    np.testing.assert_array_equal(learned.both, again.both)
    assert abs(learned.targets.mean() - 0.5) < 4 * 0.5 / learned.targets.size**0.5
    shuffled = membership.halves(FULL, PICTURES, 3, shuffled=True)
    assert np.mean(shuffled.both == learned.both) == pytest.approx(0.5, abs=0.02)
