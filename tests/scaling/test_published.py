"""Published constants say of Chinchilla's budget what their papers say."""

import numpy as np
import pytest

from gendiff.scaling import published

BUDGET = published.CHINCHILLA_FLOPS


def test_the_three_approaches_give_67b_63b_and_40b_parameters_at_chinchillas_budget():
    sizes = [
        each.optimum(BUDGET).parameters for each in (published.HOFFMANN_1, published.HOFFMANN_2, published.HOFFMANN)
    ]
    np.testing.assert_allclose(sizes, [67e9, 63e9, 40e9], rtol=0.015)


def test_hoffmanns_unrounded_constants_round_to_the_printed_ones():
    law = published.HOFFMANN
    assert (round(law.floor, 2), round(law.of_parameters, 1), round(law.of_tokens, 1)) == (1.69, 406.4, 410.7)
    assert (round(law.alpha, 2), round(law.beta, 2), round(law.exponent, 2)) == (0.34, 0.28, 0.46)


def test_epochs_fit_agrees_with_twenty_tokens_per_parameter_and_hoffmanns_third_approach_does_not():
    assert published.EPOCH.exponent == pytest.approx(0.513, abs=5e-4)
    assert 15 < published.EPOCH.optimum(BUDGET).tokens_per_parameter < 25
    assert published.HOFFMANN.optimum(BUDGET).tokens_per_parameter > 50
    assert set(published.EPOCH_ERRORS) <= {*published.EPOCH.constants}


def test_kaplan_spends_more_on_parameters_than_chinchilla_does_at_the_same_budget():
    assert published.KAPLAN_FRONTIER.optimum(BUDGET).parameters > 5 * published.EPOCH.optimum(BUDGET).parameters
    assert published.KAPLAN_FRONTIER.optimum(published.PETAFLOP_DAY).parameters == pytest.approx(1.3e9)
    assert published.EPOCH.exponent < published.KAPLAN.exponent < published.KAPLAN_FRONTIER.exponent


def test_chinchilla_is_predicted_to_beat_models_of_more_parameters_and_fewer_tokens():
    for law in (published.EPOCH, published.HOFFMANN):
        loss = {each.name: law.loss(each.parameters, each.tokens) for each in published.MODELS}
        assert loss["Chinchilla"] < min(loss["GPT-3"], loss["Gopher"])
    assert published.CHINCHILLA.flops == pytest.approx(5.88e23) and all(each.source for each in published.MODELS)
