"""Optima of laws: closed forms against their defining conditions, numbers for any law against closed forms, and worked
examples.
"""

import dataclasses

import numpy as np
import pytest

from gendiff import scaling
from gendiff.scaling import laws, published
from tests.refusals import refusals
from tests.tables import table

LAWS = {"hoffmann": published.HOFFMANN, "epoch": published.EPOCH, "kaplan": published.KAPLAN}
FLOPS = np.array([1e18, 5.76e23, 3e27])


@dataclasses.dataclass(frozen=True)
class Opaque:
    """A law of which the library knows the loss alone."""

    inner: object

    def loss(self, parameters, tokens):
        return self.inner.loss(parameters, tokens)


@table("name", LAWS)
def test_the_optimum_spends_the_budget_and_every_other_size_is_worse(name):
    best = LAWS[name].optimum(FLOPS)
    np.testing.assert_allclose(best.parameters * best.tokens, FLOPS / 6, rtol=1e-12)
    for factor in (0.5, 0.99, 1.01, 2.0):
        assert np.all(LAWS[name].loss(factor * best.parameters, best.tokens / factor) > best.loss)
    slope = np.log(best.parameters[2] / best.parameters[0]) / np.log(FLOPS[2] / FLOPS[0])
    assert slope == pytest.approx(LAWS[name].exponent, rel=1e-12)


@table("law", [published.HOFFMANN, published.EPOCH])
def test_at_the_optimum_both_terms_fall_equally_fast(law):
    best = law.optimum(FLOPS)
    np.testing.assert_allclose(
        law.alpha * law.of_parameters * best.parameters**-law.alpha,
        law.beta * law.of_tokens * best.tokens**-law.beta,
        rtol=1e-10,
    )


def test_other_units_of_parameters_and_tokens_change_the_factors_and_not_the_exponent():
    law, millions, billions = published.EPOCH, 1e6, 1e9
    other = dataclasses.replace(
        law, of_parameters=law.of_parameters * millions**-law.alpha, of_tokens=law.of_tokens * billions**-law.beta
    )
    assert other.exponent == law.exponent
    here, there = law.optimum(1e21), other.optimum(1e21 / (millions * billions))
    assert there.parameters * millions == pytest.approx(here.parameters) and there.loss == pytest.approx(here.loss)


@table("name", LAWS)
def test_numbers_for_any_law_are_those_of_the_closed_forms(name):
    law, opaque = LAWS[name], Opaque(LAWS[name])
    exact, result = scaling.compute_optimal(law, FLOPS, 5.0), scaling.compute_optimal(opaque, FLOPS, 5.0)
    np.testing.assert_allclose(result.parameters, exact.parameters, rtol=1e-6)
    np.testing.assert_allclose(result.loss, exact.loss, rtol=1e-12)
    sizes = np.array([1e7, 7e10])
    np.testing.assert_allclose(
        laws.tokens_per_parameter(opaque, sizes), laws.tokens_per_parameter(law, sizes), rtol=1e-6
    )
    best = law.optimum(FLOPS)
    np.testing.assert_allclose(law.tokens_per_parameter(best.parameters), best.tokens_per_parameter, rtol=1e-10)


@table("law", [published.EPOCH, Opaque(published.EPOCH), published.KAPLAN, Opaque(published.KAPLAN)])
def test_the_tokens_for_a_loss_reach_it_and_are_without_end_where_no_number_does(law):
    sizes, loss = np.array([1e9, 7e10, 1e6]), law.loss(2e8, 1e13)
    tokens = laws.tokens_for(law, sizes, loss)
    np.testing.assert_allclose(law.loss(sizes[:2], tokens[:2]), loss, rtol=1e-12)
    assert tokens[2] == np.inf and law.loss(1e6, 1e90) > loss
    assert laws.tokens_for(law, 2e8, loss) == pytest.approx(1e13, rel=1e-9)


def test_the_cheapest_model_of_a_loss_is_found_for_any_law_as_for_one_with_a_closed_form():
    known, opaque = (
        scaling.inference_aware(law, 70e9, 1.4e12, 1e13) for law in (published.EPOCH, Opaque(published.EPOCH))
    )
    assert (opaque.parameters, opaque.tokens) == pytest.approx((known.parameters, known.tokens), rel=1e-6)


def test_the_more_is_served_the_smaller_the_model_as_simulated_for_chinchilla():
    """Constants of Epoch, at the loss of 70B parameters and 1.4T tokens."""
    best = scaling.inference_aware(published.EPOCH, 70e9, 1.4e12, np.array([0.0, 1.4e12, 1.4e13]))
    np.testing.assert_allclose(best.parameters, [7.3e10, 5.4e10, 3.2e10], rtol=0.01)
    assert best.tokens_per_parameter[2] == pytest.approx(138, rel=0.01)
    np.testing.assert_allclose(
        published.EPOCH.loss(best.parameters, best.tokens), published.EPOCH.loss(70e9, 1.4e12), rtol=1e-12
    )
    served = np.geomspace(1e9, 1e17, 30)
    assert np.all(np.diff(scaling.inference_aware(published.EPOCH, 70e9, 1.4e12, served).parameters) < 0)


def test_without_serving_the_cheapest_training_to_a_loss_is_the_best_model_of_its_own_budget():
    cheapest = scaling.inference_aware(published.HOFFMANN, 1e9, 1e12, 0.0)
    best = published.HOFFMANN.optimum(6 * cheapest.parameters * cheapest.tokens)
    assert best.parameters == pytest.approx(cheapest.parameters, rel=1e-5) and best.loss == pytest.approx(
        cheapest.loss, rel=1e-10
    )


def test_a_model_on_the_frontier_is_not_overtrained_and_llama_3_8b_pays_in_training_what_it_spares_in_serving():
    best = published.EPOCH.optimum(1e22)
    on_it = scaling.overtraining(published.EPOCH, best.parameters, best.tokens)
    assert (on_it.flops_ratio, on_it.parameters_ratio) == pytest.approx((1.0, 1.0), abs=1e-5)
    assert on_it.loss_gap == pytest.approx(0.0, abs=1e-12)
    llama = published.LLAMA_3_8B
    over = scaling.overtraining(published.EPOCH, llama.parameters, np.array([llama.tokens, llama.tokens / 10]))
    assert np.all(over.flops_ratio > 1) and np.all(np.diff(over.flops_ratio) < 0) and np.all(over.loss_gap > 0)
    assert over.parameters_ratio[0] > 3 and over.tokens_per_parameter[0] == pytest.approx(15e12 / 8.03e9)


def test_a_frontier_and_laws_of_several_constants_answer_arrays():
    several = laws.Chinchilla(1.7, np.array([406.4, 482.0]), 410.7, 0.34, np.array([0.28, 0.3]))
    one = laws.Chinchilla(1.7, 482.0, 410.7, 0.34, 0.3)
    assert several.optimum(1e21).parameters[1] == pytest.approx(one.optimum(1e21).parameters)
    line = one.frontier(5.0).optimum(FLOPS, 5.0)
    np.testing.assert_allclose(line.parameters, one.optimum(FLOPS, 5.0).parameters)
    np.testing.assert_allclose(line.tokens, one.optimum(FLOPS, 5.0).tokens)
    assert np.isnan(line.loss).all()


test_mistakes_are_refused = refusals(
    (lambda: laws.Chinchilla(1.7, 0.0, 1.0, 0.3, 0.3), r"of_parameters = 0 is outside \(0"),
    (lambda: laws.Chinchilla(-1.0, 1.0, 1.0, 0.3, 0.3), "floor = -1"),
    (lambda: laws.Kaplan(1e13, 1e13, 0.0, 0.1), "of_parameters = 0"),
    (lambda: laws.Frontier(-1.0, 0.5), "coefficient = -1"),
    (lambda: published.EPOCH.loss(-1.0, 1e9), "parameters = -1"),
    (lambda: published.EPOCH.optimum(0.0), "flops = 0"),
    (lambda: laws.compute_optimal(Opaque(published.EPOCH), 6.0), "flops / per_token = 1 is outside"),
    (lambda: laws.inference_aware(published.EPOCH, 1e9, 1e9, -1.0), "served_tokens = -1"),
    (lambda: laws.tokens_for(published.EPOCH, 1e9, 0.0), "loss = 0"),
)
