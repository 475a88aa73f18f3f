"""Metrics of emergence: hand-worked answers, the identities that tie them, curves with known kinks, and the theory of
percolation.
"""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from gendiff.scaling import emergence
from tests.refusals import refusals
from tests.tables import table

TRUTH = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 0, 0]])
ANSWERS = np.array([[1, 2, 3], [4, 5, 0], [9, 8, 7], [1, 1, 1]])
SIZES = np.geomspace(1e3, 1e6, 7)


def test_hand_worked_answers_have_their_match_and_accuracy_and_a_match_is_full_accuracy():
    match, accuracy = emergence.exact_match(ANSWERS, jnp.asarray(TRUTH)), emergence.digit_accuracy(ANSWERS, TRUTH)
    assert match.tolist() == [True, False, False, False]
    np.testing.assert_allclose(accuracy, [1, 2 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(match, accuracy == 1)


def by_definition(first, second):
    """Levenshtein's distance by its recursion."""
    if not first or not second:
        return max(len(first), len(second))
    *others, last = first
    *rest, end = second
    return min(
        by_definition(others, rest) + (last != end), by_definition(others, second) + 1, by_definition(first, rest) + 1
    )


def test_edit_distances_are_those_of_the_textbook_and_of_the_recursion_side_by_side():
    words = ["kitten", "flaw", "", "abc", "same", "intention"], ["sitting", "lawn", "abc", "", "same", "execution"]
    assert emergence.edit_distance(*words).tolist() == [3, 2, 3, 3, 0, 5]
    rng = np.random.default_rng(0)
    first, second = ([rng.integers(0, 3, rng.integers(0, 6)).tolist() for _ in range(20)] for _ in range(2))
    distances = emergence.edit_distance(first, second)
    assert distances.tolist() == [by_definition(*pair) for pair in zip(first, second, strict=True)]
    np.testing.assert_array_equal(distances, emergence.edit_distance(second, first))


def test_the_edit_distance_of_answers_of_one_length_is_at_most_the_digits_that_differ():
    first, second = np.random.default_rng(0).integers(0, 4, (2, 50, 5))
    differ = (first != second).sum(1)
    distances = emergence.edit_distance(first, second)
    assert np.all(distances <= differ) and np.any(distances < differ) and np.all((distances == 0) == (differ == 0))


def test_sampled_exact_match_is_the_mean_of_exp_minus_nll():
    """The chain rule: digits that depend on those before them, drawn one after the other."""
    chances = np.array([[0.9, 0.1], [0.3, 0.7]])  # of the second digit, given the first
    rng = np.random.default_rng(0)
    first = rng.random(40_000) < 0.6
    second = rng.random(40_000) < chances[first.astype(int), 1]
    truth = np.tile([1, 0], (40_000, 1))
    nll = emergence.answer_nll(np.log(np.array([[0.6, chances[1, 0]]])))
    expected = math.exp(-nll[0])
    assert expected == pytest.approx(0.18)
    sampled = emergence.exact_match(np.stack([first, second], 1).astype(int), truth)
    assert abs(sampled.mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / len(sampled))
    independent = 0.6 * np.mean(second == 0)
    assert abs(sampled.mean() - independent) > 0.1, "the product of the digits' own rates is another number"


def test_masked_digits_do_not_count_whatever_stands_there():
    log_probs = np.log(np.array([[0.5, 0.25, 1.0], [0.5, 1e-9, 0.5]]))
    log_probs[1, 1] = -np.inf
    mask = np.array([[True, True, True], [True, False, True]])
    np.testing.assert_allclose(emergence.answer_nll(log_probs, mask), np.log([8, 4]))
    assert emergence.answer_nll(log_probs)[1] == math.inf


def test_briers_score_is_0_for_a_sure_right_answer_and_2_for_a_sure_wrong_one_and_proper():
    sure = np.eye(3)[[0, 0]]
    np.testing.assert_allclose(emergence.brier(sure, np.array([0, 1])), [0, 2])
    np.testing.assert_allclose(emergence.brier(np.full((1, 4), 0.25), np.array([2])), 0.75**2 + 3 * 0.25**2)
    law = np.array([0.2, 0.3, 0.5])

    def expected(forecast):
        return law @ emergence.brier(np.tile(forecast, (3, 1)), np.arange(3))

    assert all(expected(law) < expected(other) for other in np.random.default_rng(0).dirichlet(np.ones(3), 20))


@table("slope", [0.5, 2.0])
def test_a_line_in_log_x_rises_over_the_decades_of_its_slope(slope):
    assert emergence.sharpness_decades(SIZES, slope * np.log10(SIZES / 3e3)) == pytest.approx(0.8 / slope)


def bands(chance):
    """Decades from 10 % to 90 % for answers of 1, 4 and 16 digits."""
    sizes = np.geomspace(1e0, 1e10, 400)
    return [emergence.sharpness_decades(sizes, chance(sizes / 1e3) ** digits) for digits in (1, 4, 16)]


def test_a_power_law_of_the_nll_makes_longer_answers_rise_later_and_not_in_fewer_decades():
    levels = -2 * np.log10(-np.log([0.1, 0.9]))  # where exp(-x^(-1/2)) is 0.1 and 0.9
    np.testing.assert_allclose(bands(lambda x: np.exp(-(x**-0.5))), levels[1] - levels[0], atol=0.01)


def test_a_logistic_chance_per_digit_makes_longer_answers_rise_in_fewer_decades():
    levels = [np.log10(share / (1 - share)) for share in np.array([[0.1], [0.9]]) ** (1 / np.array([1, 4, 16]))]
    np.testing.assert_allclose(bands(lambda x: x / (1 + x)), levels[1] - levels[0], atol=0.01)
    assert levels[1][2] - levels[0][2] < 0.75 * (levels[1][0] - levels[0][0])


def test_the_first_crossing_counts_and_one_that_is_missing_is_nan():
    x = np.array([1.0, 10.0, 100.0, 1000.0])
    assert emergence.sharpness_decades(x, np.array([0.0, 1.0, 0.0, 1.0])) == pytest.approx(0.8)
    assert emergence.sharpness_decades(x, np.array([0.1, 0.5, 0.9, 1.0])) == pytest.approx(2)
    assert math.isnan(emergence.sharpness_decades(x, np.array([0.0, 0.1, 0.2, 0.8])))
    assert math.isnan(emergence.sharpness_decades(x, np.array([0.2, 0.3, 0.9, 1.0])))


def test_a_level_is_first_reached_where_the_line_in_log_x_meets_it():
    assert emergence.crossing(SIZES, 0.5 + 2 * np.log10(SIZES / 3e4), 0.5) == pytest.approx(3e4)
    assert emergence.crossing(SIZES, np.linspace(0.5, 1, 7), 0.5) == SIZES[0]
    assert math.isnan(emergence.crossing(SIZES, np.linspace(0.6, 1, 7), 0.5)) and math.isnan(
        emergence.crossing(SIZES, SIZES, 2e6)
    )


def bent(x, kink, before, after, start=3.0):
    u = np.log(x / kink)
    return start * np.exp(before * np.minimum(u, 0) + after * np.maximum(u, 0))


@table("kink", [SIZES[1], 2.1e4, SIZES[3], 9e4])
def test_a_kink_between_points_or_at_one_is_found_exactly_and_preferred(kink):
    fit = emergence.segmented_vs_straight(SIZES, bent(SIZES, kink, -0.1, -0.8))
    assert fit.kink == pytest.approx(kink, rel=1e-9) and fit.slopes == pytest.approx((-0.1, -0.8), rel=1e-8)
    assert fit.difference > 100


def test_no_grid_of_kinks_finds_less_squares_than_the_search():
    rng = np.random.default_rng(0)
    for noise in rng.normal(0, 0.2, (10, 9)):
        x = np.sort(rng.uniform(1, 1e3, 9))
        y = bent(x, 30.0, -0.2, -0.5) * np.exp(noise)
        fit = emergence.segmented_vs_straight(x, y)
        u = np.log(x)
        columns = [np.stack([np.ones(9), u, np.maximum(u - kink, 0)], 1) for kink in np.linspace(u[1], u[-2], 300)]
        least = min(np.linalg.lstsq(column, np.log(y))[1].sum() for column in columns)
        squares = 9 * math.exp((fit.bic_segmented - 5 * math.log(9)) / 9)
        assert squares <= least * (1 + 1e-9)


def test_a_straight_line_is_preferred_where_there_is_no_kink_for_most_draws_of_noise():
    """Seeds that share sizes are further points, in any order."""
    rng = np.random.default_rng(0)
    x = np.repeat(SIZES, 3)
    order = rng.permutation(len(x))
    differences = [
        emergence.segmented_vs_straight(x[order], (bent(x, 1e4, -0.3, -0.3) * np.exp(noise))[order]).difference
        for noise in rng.normal(0, 0.1, (40, len(x)))
    ]
    assert np.mean(np.array(differences) < 0) > 0.7 and max(differences) < 10
    assert emergence.segmented_vs_straight(SIZES, bent(SIZES, 1e4, -0.3, -0.3)).difference == pytest.approx(
        -2 * math.log(7)
    )


@table("scale", [1.0, 1e-6])
def test_units_of_x_and_y_move_the_kink_and_nothing_else(scale):
    y = bent(SIZES, 2e4, -0.1, -0.8) * np.exp(np.random.default_rng(0).normal(0, 0.1, 7))
    plain, scaled = emergence.segmented_vs_straight(SIZES, y), emergence.segmented_vs_straight(SIZES * 1e3, y * scale)
    assert scaled.kink == pytest.approx(1e3 * plain.kink) and scaled.slopes == pytest.approx(plain.slopes)
    assert scaled.difference == pytest.approx(plain.difference)


def share(mean_degree):
    """Of a large bipartite graph with sides of one size: q = 1 - exp(-c q)."""
    return scipy.optimize.brentq(lambda q: 1 - math.exp(-mean_degree * q) - q, 1e-6, 1.0)


def components(n1, n2, p, seeds=20):
    return np.array([emergence.bipartite_giant_component(seed, n1, n2, p) for seed in range(seeds)])


def test_the_giant_component_appears_where_p_times_the_root_of_both_sides_is_1():
    simulated = dict(zip((0.8, 1.0, 1.2, 1.5, 2.0), (0.05, 0.07, 0.24, 0.58, 0.79), strict=True))
    draws = {degree: components(400, 400, degree / 400) for degree in simulated}
    for degree, expected in simulated.items():
        assert abs(draws[degree].mean() - expected) < draws[degree].std(), (
            "another simulation's draw, near the mean of these"
        )
    assert [draws[degree].mean() for degree in (1.5, 2.0)] == pytest.approx([share(1.5), share(2.0)], abs=0.02)
    assert draws[0.8].mean() < 0.05 and components(1600, 100, 0.5 / 400).mean() < 0.03
    assert components(1600, 100, 2 / 400).mean() > 0.3, "sides may differ"


def test_a_graph_without_edges_has_single_nodes_and_one_with_all_is_whole_and_a_seed_is_a_draw():
    assert emergence.bipartite_giant_component(0, 3, 5, 0.0) == 1 / 8
    assert emergence.bipartite_giant_component(0, 3, 5, 1.0) == 1
    assert emergence.bipartite_giant_component(0, 1, 1, 0.0) == 0.5
    draws = [emergence.bipartite_giant_component(seed, 40, 50, 0.025) for seed in (1, 1, 2, 3)]
    assert draws[0] == draws[1] and len(set(draws)) > 1
    rng = np.random.default_rng(1)
    assert emergence.bipartite_giant_component(rng, 40, 50, 0.025) == draws[0]


test_mistakes_are_refused = refusals(
    (lambda: emergence.exact_match(ANSWERS, TRUTH[:2]), "must be equal"),
    (lambda: emergence.digit_accuracy(ANSWERS[0], TRUTH[0]), r"got shape \(3,\)"),
    (lambda: emergence.edit_distance("12", "12"), "one string", TypeError),
    (lambda: emergence.edit_distance(["12"], ["12", "3"]), "1 sequences but truth 2"),
    (lambda: emergence.edit_distance(["12"], [[1, 2]]), "both be strings", TypeError),
    (lambda: emergence.edit_distance([[0.5]], [[1]]), "float64", TypeError),
    (lambda: emergence.edit_distance([1, 2], [1, 2]), "for one pair"),
    (lambda: emergence.answer_nll(np.array([[0.1]])), r"log_probs = .*0\.1"),
    (lambda: emergence.answer_nll(np.array([[np.nan]])), "log_probs"),
    (lambda: emergence.answer_nll(np.zeros((2, 3)), np.ones((2, 2), bool)), "mask"),
    (lambda: emergence.brier(np.ones((1, 2)), np.array([0])), "adding up to 1"),
    (lambda: emergence.brier(np.eye(2), np.array([0, 2])), "none of 0 … 1"),
    (lambda: emergence.brier(np.eye(2), np.array([0])), "2 rows need"),
    (lambda: emergence.sharpness_decades(SIZES[::-1], SIZES), "must rise"),
    (lambda: emergence.sharpness_decades(SIZES - 1e3, SIZES), "x = "),
    (lambda: emergence.sharpness_decades(SIZES, SIZES, 0.9, 0.1), "low = 0.9"),
    (lambda: emergence.sharpness_decades(SIZES, SIZES[1:]), "must be equal"),
    (lambda: emergence.crossing(SIZES[::-1], SIZES, 0.5), "must rise"),
    (lambda: emergence.crossing(SIZES, SIZES, math.nan), "level is not finite"),
    (lambda: emergence.segmented_vs_straight(SIZES[:5], SIZES[:5]), "at least 6 points"),
    (lambda: emergence.segmented_vs_straight(np.repeat(SIZES[:3], 2), np.ones(6)), "at least 4"),
    (lambda: emergence.segmented_vs_straight(SIZES, 0 * SIZES), "y = "),
    (lambda: emergence.segmented_vs_straight(SIZES, SIZES * np.nan), "y is not finite"),
    (lambda: emergence.bipartite_giant_component(0, 0, 5, 0.5), "n1 = 0"),
    (lambda: emergence.bipartite_giant_component(0, 5, 5, 1.5), "p = 1.5"),
)
