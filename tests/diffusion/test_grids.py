"""Grids: every spacing, for every number of steps, stays in the table, falls strictly, and ends where it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiff.diffusion import grids, oracles, samplers, sampling, schedules
from tests.diffusion.families import GRIDS as ON_TABLES

ON_PATHS = {name: ON_TABLES[name] for name in ("trailing", "karras", "log_snr", "cosine")}
SCHEDULES = {
    "linear": schedules.linear,
    "cosine": schedules.cosine,
    "scaled_linear": schedules.scaled_linear,
    "zero_terminal": lambda *steps: schedules.zero_terminal_snr(schedules.scaled_linear(*steps)),
}


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


@pytest.mark.parametrize("name", ["leading", "trailing", "linspace"])
def test_every_number_of_steps_visits_the_stated_entries(name):
    schedule = schedules.linear(1000)
    for n in range(1, 1001):
        levels = ON_TABLES[name](schedule, n)
        found = entries(levels)
        np.testing.assert_array_equal(found, published(name, n, 1000), err_msg=f"n = {n}")
        assert found.shape == (n,) and found[-1] >= 0 and found[0] <= 999 and np.all(np.diff(found) < 0)
        assert [np.asarray(field)[-1] for field in (levels.t, levels.alpha, levels.sigma)] == [-1, 1, 0]
    assert levels.alpha.dtype == jnp.float32


@given(total=st.integers(1, 60), data=st.data(), name=st.sampled_from(["leading", "trailing", "linspace"]))
def test_every_table_length_and_number_of_steps_stays_inside_and_falls(total, data, name):
    n = data.draw(st.integers(1, total))
    schedule = schedules.linear(total)
    levels = ON_TABLES[name](schedule, n)
    found = entries(levels)
    np.testing.assert_array_equal(found, published(name, n, total))
    np.testing.assert_allclose(levels.alpha[:-1], schedule.table.alpha[found], rtol=1e-6)
    np.testing.assert_allclose(levels.sigma[:-1], schedule.table.sigma[found], rtol=1e-6)


def test_published_spacings():
    np.testing.assert_array_equal(entries(grids.leading(schedules.linear(), 5, offset=1)), [801, 601, 401, 201, 1])
    np.testing.assert_array_equal(entries(grids.leading(schedules.linear(), 10)), np.arange(900, -1, -100))
    np.testing.assert_array_equal(entries(grids.trailing(schedules.linear(), 10)), np.arange(999, -1, -100))
    np.testing.assert_array_equal(entries(grids.linspace(schedules.linear(), 4)), [999, 666, 333, 0])


def test_rounding_half_up_differs_from_a_rounded_float_range_at_35_numbers_of_steps():
    """Among those where the float range has the right number of entries at all."""
    schedule, differs = schedules.linear(), 0
    for n in range(1, 1001):
        rounded = np.round(np.arange(1000, 0, -1000 / n)).astype(int) - 1
        if len(rounded) == n and not np.array_equal(rounded, published("trailing", n, 1000)):
            np.testing.assert_array_equal(entries(grids.trailing(schedule, n)), published("trailing", n, 1000))
            differs += 1
    assert differs == 35


@pytest.mark.parametrize("name", ON_TABLES)
@pytest.mark.parametrize("build", SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.parametrize("end", ["clean", "first"])
def test_levels_fall_strictly_and_end_as_asked(name, build, end):
    schedule, spaced = build(1000), name in ("karras", "log_snr")
    limits = {"sigma_max": 100.0} if spaced and schedule.table.alpha[-1] == 0 else {}
    for n in (1, 2, 3, 7, 50) + (999,) * (not spaced):  # float32 cannot tell 999 levels of those apart
        levels = ON_TABLES[name](schedule, n, end=end, **limits)
        alpha, sigma = np.asarray(levels.alpha, np.float64), np.asarray(levels.sigma, np.float64)
        assert levels.shape == (n + 1,) and np.all(np.isfinite(levels.t))
        if end == "clean":
            assert (alpha[-1], sigma[-1]) == (1.0, 0.0)
        else:
            np.testing.assert_allclose((alpha[-1], sigma[-1]), (schedule.table.alpha[0], schedule.table.sigma[0]), rtol=1e-6)
        inside = slice(None, -1) if end == "first" else slice(None)
        ratio = sigma[inside] / np.maximum(alpha[inside], 1e-30)
        assert np.all(np.diff(ratio) < 0), (n, ratio)
        assert alpha[0] >= schedule.table.alpha[-1] * (1 - 1e-6) and np.all(alpha >= 0) and np.all(sigma >= 0)


@pytest.mark.parametrize("name", ON_PATHS)
@pytest.mark.parametrize(
    "build", [schedules.flow, schedules.edm, lambda: schedules.shifted(schedules.flow(), 3.0)], ids=["flow", "edm", "shifted"]
)
def test_continuous_paths_have_grids_too(name, build):
    spaced = name in ("karras", "log_snr")
    limits = {"sigma_min": 0.01, "sigma_max": 100.0} if spaced and build is not schedules.edm else {}
    for n, end in ((1, "clean"), (2, "clean"), (5, "clean"), (40, "clean"), *(((5, "first"),) * spaced)):
        levels = ON_PATHS[name](build(), n, end=end, **limits)
        assert levels.shape == (n + 1,) and np.all(np.isfinite(levels.t))
        ratio = np.asarray(levels.sigma, np.float64) / np.maximum(np.asarray(levels.alpha, np.float64), 1e-30)
        assert np.all(np.diff(ratio) < 0)
        assert (levels.sigma[-1] == 0) == (end == "clean")


@jax.jit
def sampled(levels):
    return sampling.sample(jax.random.key(0), oracles.gaussian(0.5, 0.1), samplers.ddim(), levels, (2,), jnp.arange(2))


@pytest.mark.parametrize("name", ON_TABLES)
def test_grids_drive_a_sampler_and_have_the_default_dtype(name):
    for steps in (1, 2, 5):
        assert np.all(np.isfinite(sampled(ON_TABLES[name](schedules.cosine(), steps))))
    with jax.enable_x64(True):
        assert ON_TABLES[name](schedules.linear(), 5).alpha.dtype == jnp.float64


@pytest.mark.float64
def test_karras_is_equation_5_of_edm():
    expected = [80, 57.585985, 40.785574, 28.374585, 19.352453, 12.910082, 8.400935, 5.315195, 3.256822, 1.92334, 1.088171]
    expected += [0.585348, 0.296442, 0.139516, 0.059947, 0.022935, 0.007528, 0.002, 0.0]
    levels = grids.karras(schedules.edm(), 18)
    np.testing.assert_allclose(levels.sigma, expected, atol=5.1e-7)
    np.testing.assert_array_equal(levels.alpha, np.ones(19))
    np.testing.assert_allclose(levels.t[:-1], np.log(np.array(expected[:-1])) / 4, atol=1e-3)


@pytest.mark.float64
def test_karras_on_a_table_spaces_the_noise_ratio_within_its_limits():
    schedule = schedules.scaled_linear()
    levels = grids.karras(schedule, 10)
    ratio = np.asarray(levels.sigma / levels.alpha)[:-1]
    table = schedule.table.sigma / schedule.table.alpha
    np.testing.assert_allclose(ratio ** (1 / 7), np.linspace(table[-1] ** (1 / 7), table[0] ** (1 / 7), 10), rtol=1e-9)
    np.testing.assert_allclose(levels.alpha**2 + levels.sigma**2, 1, rtol=1e-9)
    assert np.all((np.asarray(levels.t)[:-1] >= 0) & (np.asarray(levels.t)[:-1] <= 999))
    narrow = grids.karras(schedule, 5, rho=3.0, sigma_min=0.1, sigma_max=10.0)
    expected = np.linspace(10 ** (1 / 3), 0.1 ** (1 / 3), 5) ** 3
    np.testing.assert_allclose((narrow.sigma / narrow.alpha)[:-1], expected, rtol=1e-9)


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.scaled_linear, schedules.edm], ids=["table", "edm"])
def test_log_snr_grid_is_even_in_log_snr(build):
    levels = grids.log_snr(build(), 12)
    gaps = np.diff(np.asarray(levels.log_snr)[:-1])
    np.testing.assert_allclose(gaps, gaps.mean(), rtol=1e-7)
    some = grids.log_snr(schedules.flow(), 4, sigma_min=0.5, sigma_max=2.0)
    np.testing.assert_allclose(np.asarray(some.log_snr)[[0, -2]], [-2 * np.log(2), 2 * np.log(2)], rtol=1e-9)


@pytest.mark.float64
def test_cosine_grid_is_the_cosine_of_the_position():
    n = 8
    np.testing.assert_allclose(grids.cosine(schedules.flow(), n).sigma, np.cos(np.pi * np.arange(n + 1) / (2 * n)), atol=1e-12)
    t = np.asarray(grids.cosine(schedules.linear(), n).t)
    np.testing.assert_allclose(t[:-1], 999 * np.cos(np.pi * np.arange(n) / (2 * n)), atol=1e-6)


@pytest.mark.float64
def test_trailing_on_a_path_steps_evenly_from_noise_to_clean():
    np.testing.assert_allclose(grids.trailing(schedules.flow(), 4).sigma, [1, 0.75, 0.5, 0.25, 0], atol=1e-15)
    np.testing.assert_allclose(grids.trailing(schedules.flow(), 4).t, [1000, 750, 500, 250, 0], atol=1e-9)


def test_zero_terminal_grids_start_at_no_signal():
    schedule = schedules.zero_terminal_snr(schedules.linear())
    for name in ("trailing", "linspace", "cosine"):
        levels = ON_TABLES[name](schedule, 5)
        assert levels.alpha[0] == 0 and levels.sigma[0] == 1 and levels.t[0] == 999


def test_padding_repeats_the_last_level():
    levels = grids.trailing(schedules.linear(), 5)
    longer = grids.padded(levels, 9)
    assert longer.shape == (10,)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:6], b), longer, levels)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[6:], np.repeat(np.asarray(b)[-1:], 4)), longer, levels)
    jax.tree.map(np.testing.assert_array_equal, grids.padded(levels, 5), levels)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ON_TABLES)
def test_grids_of_no_steps_of_too_many_and_without_limits_are_refused(name):
    refused = [(schedules.linear(), 0, "n = 0"), (schedules.linear(), -3, "n = -3")]
    if name in ("leading", "trailing", "linspace"):
        refused.append((schedules.linear(1000), 1001, "1001.*1000"))
    if name in ("karras", "log_snr"):
        refused += [(schedules.zero_terminal_snr(schedules.linear()), 5, "sigma_max"), (schedules.flow(), 5, "sigma_min")]
    for schedule, n, named in refused:
        with pytest.raises(ValueError, match=named):
            ON_TABLES[name](schedule, n)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "error", "named"),
    [
        (lambda: grids.leading(schedules.linear(), 1000, offset=1), ValueError, "offset"),
        (lambda: grids.leading(schedules.linear(), 10, offset=100), ValueError, "offset"),
        (lambda: grids.leading(schedules.linear(), 10, offset=-1), ValueError, "offset"),
        (lambda: grids.leading(schedules.linear(), 2.5), TypeError, "n"),
        (lambda: grids.trailing(schedules.linear(), True), TypeError, "n"),
        (lambda: grids.leading(schedules.flow(), 5), ValueError, "table"),
        (lambda: grids.linspace(schedules.edm(), 5), ValueError, "table"),
        (lambda: grids.trailing(schedules.linear(), 5, end="firts"), ValueError, "first"),
        (lambda: grids.trailing(schedules.flow(), 5, end="first"), ValueError, "karras or log_snr"),
        (lambda: grids.cosine(schedules.edm(), 5, end="first"), ValueError, "karras or log_snr"),
        (lambda: grids.karras(schedules.edm(), 5, sigma_min=90.0), ValueError, "sigma_max|sigma_min"),
        (lambda: grids.karras(schedules.edm(), 5, rho=0.0), ValueError, "rho"),
        (lambda: grids.log_snr(schedules.edm(), 5, sigma_min=-1.0), ValueError, "sigma_min"),
        (lambda: grids.padded(grids.trailing(schedules.linear(), 5), 4), ValueError, "4"),
    ],
)
def test_spacings_that_leave_the_table_are_refused(mistake, error, named):
    with pytest.raises(error, match=named):
        mistake()
