"""Grids: every spacing, for every number of steps, stays in the table, falls strictly, and ends where it says."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiff.diffusion import grids, oracles, samplers, sampling, schedules
from gendiff.diffusion.types import Level
from tests.diffusion.families import CONTINUOUS, GRIDS, TABLES
from tests.quickly import in_numpy
from tests.refusals import refusals
from tests.tables import table

SPACED = ("karras", "log_snr")  # between two limits of sigma / alpha
BY_RATIO = (*SPACED, "resolved")
BY_ENTRIES = ("leading", "trailing", "linspace")
CHAINS = {name: TABLES[name] for name in ("linear", "cosine", "scaled_linear", "zero_terminal_snr")}


def entries(levels):
    """The table entries that a grid starts its steps from."""
    t = np.asarray(levels.t)[:-1]
    np.testing.assert_array_equal(t, np.round(t))
    return t.astype(int)


def published(name, n, total):
    """Integer arithmetic, halves rounded up."""
    k = np.arange(n)
    if name == "leading":
        return k[::-1] * (total // n)
    if name == "trailing":
        return (2 * total * (n - k) + n) // (2 * n) - 1
    return (2 * (total - 1) * (n - 1 - k) + (n - 1)) // (2 * (n - 1)) if n > 1 else np.array([total - 1])


def falling_ratio(levels, n):
    """sigma / alpha of a grid of n steps, checked to fall strictly."""
    ratio = np.asarray(levels.sigma, np.float64) / np.maximum(np.asarray(levels.alpha, np.float64), 1e-30)
    assert levels.shape == (n + 1,) and np.all(np.isfinite(levels.t))
    assert np.all(np.diff(ratio) < 0), (n, ratio)
    return ratio


@pytest.mark.parametrize("name", BY_ENTRIES)
def test_every_number_of_steps_visits_the_stated_entries(name):
    """Of the larger ones those that divide the table, and some of the others."""
    schedule = schedules.linear(1000)
    divisors = (1000 // part for part in range(1, 32))
    for n in sorted({*range(1, 65), *range(65, 1001, 13), *divisors, *range(988, 1001)}):
        levels = GRIDS[name](schedule, n)
        visited = entries(levels)
        np.testing.assert_array_equal(visited, published(name, n, 1000), err_msg=f"n = {n}")
        assert visited[-1] >= 0 and visited[0] <= 999 and np.all(np.diff(visited) < 0)
        assert [np.asarray(field)[-1] for field in (levels.t, levels.alpha, levels.sigma)] == [-1, 1, 0]


@given(total=st.integers(1, 60), data=st.data(), name=st.sampled_from(BY_ENTRIES))
def test_every_table_length_and_number_of_steps_stays_inside_and_falls(total, data, name):
    n = data.draw(st.integers(1, total))
    table = schedules.linear(total).table
    levels = GRIDS[name](schedules.linear(total), n)
    visited = entries(levels)
    np.testing.assert_array_equal(visited, published(name, n, total))
    np.testing.assert_allclose(levels.alpha[:-1], table.alpha[visited], rtol=1e-6)
    np.testing.assert_allclose(levels.sigma[:-1], table.sigma[visited], rtol=1e-6)


def test_published_spacings_and_35_that_a_rounded_float_range_misses_for_it_rounds_no_half_up():
    table = schedules.linear()
    np.testing.assert_array_equal(entries(grids.leading(table, 5, offset=1)), [801, 601, 401, 201, 1])
    np.testing.assert_array_equal(entries(grids.leading(table, 10)), np.arange(900, -1, -100))
    np.testing.assert_array_equal(entries(grids.trailing(table, 10)), np.arange(999, -1, -100))
    np.testing.assert_array_equal(entries(grids.linspace(table, 4)), [999, 666, 333, 0])
    rounded = {n: np.round(np.arange(1000, 0, -1000 / n)).astype(int) - 1 for n in range(1, 1001)}
    assert (
        sum(len(row) == n and not np.array_equal(row, published("trailing", n, 1000)) for n, row in rounded.items())
        == 35
    )


@table(("name", "chain", "end"), itertools.product(GRIDS, CHAINS, ("clean", "first")))
def test_levels_fall_strictly_and_end_as_asked(name, chain, end):
    schedule = CHAINS[chain](1000)
    limits = {"sigma_max": 100.0} if name in SPACED and schedule.table.alpha[-1] == 0 else {}
    for n in (1, 2, 3, 7, 50) + (999,) * (name not in BY_RATIO):  # float32 cannot tell 999 levels of those apart
        levels = jax.device_get(GRIDS[name](schedule, n, end=end, **limits))
        if end == "clean":
            falling_ratio(levels, n)
            assert (levels.alpha[-1], levels.sigma[-1]) == (1.0, 0.0)
        else:
            assert levels.shape == (n + 1,) and np.all(np.isfinite(levels.t))
            falling_ratio(levels[:-1], n - 1)
            np.testing.assert_allclose(
                (levels.alpha[-1], levels.sigma[-1]), (schedule.table.alpha[0], schedule.table.sigma[0]), rtol=1e-6
            )
        if name in ("trailing", "linspace", "cosine"):  # at zero terminal SNR they start without signal
            assert levels.t[0] == 999 and levels.alpha[0] == pytest.approx(schedule.table.alpha[-1], rel=1e-6, abs=0.0)
        assert (
            levels.alpha[0] >= schedule.table.alpha[-1] * (1 - 1e-6)
            and np.all(levels.alpha >= 0)
            and np.all(levels.sigma >= 0)
        )


@table(("name", "path"), itertools.product(("trailing", "cosine", *BY_RATIO), CONTINUOUS))
def test_continuous_paths_have_grids_too(name, path):
    build = CONTINUOUS[path]
    limits = {"sigma_min": 0.01, "sigma_max": 100.0} if name in SPACED and build is not schedules.edm else {}
    for n, end in ((1, "clean"), (2, "clean"), (5, "clean"), (40, "clean"), *(((5, "first"),) * (name in BY_RATIO))):
        ratio = falling_ratio(GRIDS[name](build(), n, end=end, **limits), n)
        assert (ratio[-1] == 0) == (end == "clean")


@jax.jit
def sampled(levels):
    return sampling.sample(jax.random.key(0), oracles.gaussian(0.5, 0.1), samplers.ddim(), levels, (2,), jnp.arange(2))


@table("name", GRIDS)
def test_grids_drive_a_sampler_and_have_the_default_dtype(name):
    for steps in (1, 2, 5):
        levels = GRIDS[name](schedules.cosine(), steps)
        assert levels.alpha.dtype == jnp.float32 and np.all(np.isfinite(sampled(levels)))
    with jax.enable_x64(True):
        assert GRIDS[name](schedules.linear(), 5).alpha.dtype == jnp.float64


@pytest.mark.float64
def test_karras_is_equation_5_of_edm_and_so_is_the_edm_path_through_u():
    expected = [
        80,
        57.585985,
        40.785574,
        28.374585,
        19.352453,
        12.910082,
        8.400935,
        5.315195,
        3.256822,
        1.92334,
        1.088171,
    ]
    expected = np.array([*expected, 0.585348, 0.296442, 0.139516, 0.059947, 0.022935, 0.007528, 0.002, 0.0])
    levels, path = grids.karras(schedules.edm(), 18), schedules.edm().at(jnp.linspace(1, 0, 18))
    for level, sigma in ((levels, expected), (path, expected[:-1])):
        np.testing.assert_allclose(level.sigma, sigma, atol=5.1e-7)
        np.testing.assert_array_equal(level.alpha, np.ones_like(sigma))
        np.testing.assert_allclose(level.t[:18], np.log(expected[:-1]) / 4, atol=1e-4)
        np.testing.assert_allclose(level.t[0], np.log(80) / 4, rtol=1e-12)


@pytest.mark.float64
def test_karras_on_a_table_spaces_the_noise_ratio_within_its_limits():
    schedule = schedules.scaled_linear()
    levels, table = grids.karras(schedule, 10), schedule.table.sigma / schedule.table.alpha
    ratio = np.asarray(levels.sigma / levels.alpha)[:-1]
    np.testing.assert_allclose(ratio ** (1 / 7), np.linspace(table[-1] ** (1 / 7), table[0] ** (1 / 7), 10), rtol=1e-9)
    np.testing.assert_allclose(levels.alpha**2 + levels.sigma**2, 1, rtol=1e-9)
    assert np.all((np.asarray(levels.t)[:-1] >= 0) & (np.asarray(levels.t)[:-1] <= 999))
    narrow = grids.karras(schedule, 5, rho=3.0, sigma_min=0.1, sigma_max=10.0)
    np.testing.assert_allclose(
        (narrow.sigma / narrow.alpha)[:-1], np.linspace(10 ** (1 / 3), 0.1 ** (1 / 3), 5) ** 3, rtol=1e-9
    )


@pytest.mark.float64
def test_log_snr_grid_is_even_in_log_snr():
    for schedule in (schedules.scaled_linear(), schedules.edm()):
        gaps = np.diff(np.asarray(grids.log_snr(schedule, 12).log_snr)[:-1])
        np.testing.assert_allclose(gaps, gaps.mean(), rtol=1e-7)
    narrow = grids.log_snr(schedules.flow(), 4, sigma_min=0.5, sigma_max=2.0)
    np.testing.assert_allclose(np.asarray(narrow.log_snr)[[0, -2]], [-2 * np.log(2), 2 * np.log(2)], rtol=1e-9)


@pytest.mark.float64
def test_cosine_is_the_cosine_of_the_position_and_trailing_on_a_path_steps_evenly():
    position = np.cos(np.pi * np.arange(9) / 16)
    np.testing.assert_allclose(grids.cosine(schedules.flow(), 8).sigma, position, atol=1e-12)
    np.testing.assert_allclose(grids.cosine(schedules.linear(), 8).t[:-1], 999 * position[:-1], atol=1e-6)
    even = grids.trailing(schedules.flow(), 4)
    np.testing.assert_allclose(even.sigma, [1, 0.75, 0.5, 0.25, 0], atol=1e-15)
    np.testing.assert_allclose(even.t, [1000, 750, 500, 250, 0], atol=1e-9)


def test_padding_repeats_the_last_level():
    levels = grids.trailing(schedules.linear(), 5)
    longer = grids.padded(levels, 9)
    assert longer.shape == (10,)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.append(b, [b[-1]] * 4)), longer, levels)
    jax.tree.map(np.testing.assert_array_equal, grids.padded(levels, 5), levels)


@pytest.mark.float64
def test_resolved_is_even_in_log_snr_between_limits_of_the_data_where_the_schedule_has_them():
    digits = {"resolution": 2 / 16, "norm": 7.0}
    for schedule in (schedules.linear(), schedules.flow(), schedules.edm()):
        levels = grids.resolved(schedule, 6, **digits)
        np.testing.assert_allclose(
            np.exp(-levels.log_snr / 2)[:-1], np.geomspace(14.0, 0.125 / np.sqrt(12), 6), rtol=1e-9
        )
    limits = grids.resolved_limits(schedules.scaled_linear(), resolution=1e-3, norm=100.0)
    np.testing.assert_allclose(limits, [0.029167, 14.614641], rtol=1e-4)


@in_numpy
def flowed(data, x, first):
    return data.flow(x, first, schedules.flow().clean)


def relative_entropy(mean, std, other_mean, other_std):
    return np.log(other_std / std) + (std**2 + (mean - other_mean) ** 2) / (2 * other_std**2) - 0.5


@pytest.mark.float64
@pytest.mark.parametrize(
    ("mean", "std", "low", "high"), [(0.0, 0.5, 0.8 / 64, 1 / 64), (2.0, 1e-3, 0.99 / 8, 1 / 8), (1.0, 0.7, 0.0, 1 / 8)]
)
def test_the_start_without_signal_costs_as_much_divergence_as_stated_after_the_exact_flow(mean, std, low, high):
    data = oracles.gaussian(std, mean)
    first = grids.resolved(schedules.flow(), 3, resolution=0.01, norm=np.hypot(mean, std))[0]
    ends = flowed(data, first.sigma * np.array([[-1.0], [1.0]]), jax.device_get(first))[:, 0]
    assert low <= relative_entropy(mean, std, ends.mean(), np.ptp(ends) / 2) <= high


@pytest.mark.float64
def test_the_last_prediction_is_as_near_to_the_flow_as_stated():
    ratio = grids.resolved_limits(schedules.flow(), resolution=0.1, norm=1.0)[0]
    last = schedules.flow().at_log_snr(-2 * np.log(ratio))
    data = oracles.gaussian(ratio * np.linspace(0.2, 3.0, 29))

    @in_numpy
    def both(last):
        x = data.marginal_std(last)[:, None]  # both maps are linear, so that this is the root mean square
        return data(x, last).clean, data.flow(x, last, schedules.flow().clean)

    predicted, exact = both(jax.device_get(last))
    errors = np.abs(predicted - exact) / ratio
    assert 0.29 < np.max(errors) <= 0.301


@pytest.mark.float64
@pytest.mark.parametrize("sampler", [samplers.ddim(), samplers.unipc(2)], ids=["ddim", "unipc"])
def test_six_resolved_steps_beat_six_steps_over_all_that_the_schedule_has(sampler):
    step = 2 / 16
    means = np.random.default_rng(0).integers(-8, 9, (20, 4)) * step
    # points on a lattice, and their rounding
    data = oracles.mixture(np.full(20, 1 / 20), means, np.full(20, step / np.sqrt(12)))
    norm = np.sqrt(np.mean(np.sum(means**2, axis=1)) + 4 * step**2 / 12)
    schedule = schedules.linear()

    @in_numpy
    def ends(levels, num_steps):
        return sampling.sample(jax.random.key(1), data, sampler, levels, (4,), jnp.arange(128), num_steps=num_steps)

    def padded(levels):
        return jax.tree.map(lambda field: np.pad(field, (0, 601 - len(field)), "edge"), levels)

    grid = {"resolved": grids.resolved(schedule, 6, resolution=step, norm=norm)}
    grid |= {name: GRIDS[name](schedule, 6) for name in ("trailing", "log_snr")}
    exact = ends(padded(grids.log_snr(schedule, 600)), 600)
    error = {name: np.sqrt(np.mean((ends(padded(levels), 6) - exact) ** 2)) for name, levels in grid.items()}
    assert error["resolved"] < 0.9 * min(error["trailing"], error["log_snr"]), error


def resolved(resolution=0.1, norm=3.0):
    return grids.resolved(schedules.cosine(), 5, resolution=resolution, norm=norm)


test_a_resolution_and_a_norm_that_leave_no_level_are_refused = refusals(
    (lambda: resolved(0.0), "norm|resolution"),
    (lambda: resolved(norm=np.inf), "norm|resolution"),
    (lambda: resolved(norm=np.nan), "norm|resolution"),
    (lambda: resolved(5.0, 0.1), "norm|resolution"),
)


@table("first", range(5))
def test_what_remains_of_a_grid_begins_at_an_entry_and_stays_as_long(first):
    levels = grids.trailing(schedules.cosine(100), 4)
    rest = grids.remaining(levels, first)
    for full, left in zip(jax.tree.leaves(levels), jax.tree.leaves(rest), strict=True):
        np.testing.assert_array_equal(left, [*full[first:], *[full[-1]] * first])


def test_a_level_with_a_plain_alpha_has_a_log_snr_under_jit():
    value = jax.jit(lambda sigma: Level(jnp.log(sigma) / 4, 1.0, sigma).log_snr)(2.0)
    np.testing.assert_allclose(value, -2 * np.log(2), rtol=1e-6)
