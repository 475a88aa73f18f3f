"""Schedules against the values of their papers: float64 tables of 1000 steps, the straight path and its shift.
test_grids has EDM's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.diffusion import parameterization, sampling, schedules
from gendiff.diffusion.types import Level
from tests.diffusion.families import SCHEDULES, TABLES, for_each
from tests.quickly import in_numpy

BUILDERS = for_each("build", SCHEDULES)
TABLE_BUILDERS = for_each("build", TABLES)


def alpha_bar(schedule: schedules.Schedule) -> np.ndarray:
    return schedule.table.alpha**2


@pytest.mark.parametrize(
    ("build", "first", "middle", "last", "ratio"),
    [
        (schedules.scaled_linear, 0.99915, 0.2776696505, 4.6600985e-3, 14.614641),
        (schedules.linear, 0.9999, 0.0785872429, 4.0358298e-5, 157.4073),
        (schedules.cosine, 0.9999587158, 0.4938435904, 2.428767e-9, 20291.17),
    ],
)
def test_tables_of_1000_steps_have_the_published_alpha_bar_and_noise_ratio(build, first, middle, last, ratio):
    table = build().table
    shares = alpha_bar(build())[[0, 499, 999]]
    np.testing.assert_allclose(shares, (first, middle, last), rtol=2e-7)
    np.testing.assert_allclose(shares[:2], (first, middle), atol=5.1e-11)
    ratios = table.sigma / table.alpha
    assert ratios.max() == ratios[-1] == pytest.approx(ratio, rel=5e-7) == schedules.max_noise_ratio(build())


def test_scaled_linear_and_linear_run_as_published():
    table = schedules.scaled_linear().table
    assert table.sigma[0] / table.alpha[0] == pytest.approx(0.029167, rel=3e-5)
    assert table.log_snr[-1] == pytest.approx(-5.3640, abs=5.1e-5)
    assert schedules.linear().table.log_snr[-1] == pytest.approx(-10.1177, abs=5.1e-5)
    shares = alpha_bar(schedules.scaled_linear(50))
    np.testing.assert_allclose(
        np.sqrt(1 - shares[1:] / shares[:-1]), np.linspace(0.00085**0.5, 0.012**0.5, 50)[1:], rtol=1e-10
    )


def test_zero_terminal_snr_ends_at_exactly_zero_and_starts_as_before():
    before, after = schedules.scaled_linear(), schedules.zero_terminal_snr(schedules.scaled_linear())
    assert (
        after.table.alpha[999] == 0.0 and after.table.sigma[999] == 1.0 and schedules.max_noise_ratio(after) == np.inf
    )
    np.testing.assert_allclose(alpha_bar(after)[[0, 499, 998]], [0.99915, 0.24235917, 1.967888e-7], rtol=5e-7)
    root = before.table.alpha
    np.testing.assert_allclose(after.table.alpha, (root - root[-1]) * root[0] / (root[0] - root[-1]), atol=1e-14)


def test_cosine_and_sigmoid_follow_their_formulas_until_beta_is_clipped():
    def squared_cosine(u):
        return np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2

    def sigmoid_of_chen_2023(u):
        start, middle, end = (1 / (1 + np.exp(-x / 0.7)) for x in (-3.0, 6 * u - 3, 3.0))
        return (end - middle) / (end - start)

    for schedule, formula in (
        (schedules.cosine(20), squared_cosine),
        (schedules.sigmoid(1000, -3.0, 3.0, 0.7), sigmoid_of_chen_2023),
    ):
        shares, u = alpha_bar(schedule), np.arange(1, len(schedule.table) + 1) / len(schedule.table)
        np.testing.assert_allclose(shares[:-1], (formula(u) / formula(0.0))[:-1], rtol=1e-11)
        assert shares[-1] / shares[-2] == pytest.approx(1 - 0.999, rel=1e-9)


def test_from_betas_is_the_running_product_and_from_alpha_bar_its_inverse():
    chain = schedules.from_betas(np.array([0.1, 0.2, 0.4, 0.9]))
    np.testing.assert_allclose(alpha_bar(chain), [0.9, 0.72, 0.432, 0.0432], rtol=1e-14)
    np.testing.assert_allclose(schedules.from_alpha_bar(alpha_bar(chain)).table.alpha, chain.table.alpha, rtol=1e-14)
    betas = np.linspace(1e-4, 0.02, 100)
    np.testing.assert_allclose(schedules.from_betas(betas).table.alpha, schedules.linear(100).table.alpha, rtol=1e-14)


@TABLE_BUILDERS
def test_tables_are_float64_variance_preserving_and_strictly_noisier(build):
    table = build(250).table
    assert isinstance(table, Level) and table.shape == (250,) and len(table) == 250
    assert table[3].shape == () and table[3].t == 3 and table[2:5].shape == (3,)
    for field in (table.alpha, table.sigma):
        assert isinstance(field, np.ndarray) and field.dtype == np.float64 and field.shape == (250,)
    np.testing.assert_allclose(table.alpha**2 + table.sigma**2, 1, atol=1e-14)
    np.testing.assert_array_equal(table.t, np.arange(250))
    assert np.all(np.diff(table.alpha) < 0) and np.all(np.diff(table.sigma) >= 0) and np.all(np.diff(table.log_snr) < 0)
    assert table.alpha[0] < 1 and table.alpha[-1] >= 0


@pytest.mark.parametrize("build", [schedules.linear, schedules.scaled_linear, schedules.cosine, schedules.sigmoid])
@pytest.mark.parametrize("steps", [1, 2])
def test_tables_of_one_and_two_steps_exist(build, steps):
    table = build(steps).table
    assert table.shape == (steps,) and np.all(np.isfinite(table.alpha)) and np.all(table.sigma > 0)


@BUILDERS
@pytest.mark.float64
def test_noise_grows_with_u_from_a_clean_level_and_log_snr_finds_the_same_level(build):
    schedule, clean = build(), build().clean
    assert clean.shape == () and (float(clean.alpha), float(clean.sigma)) == (1.0, 0.0)
    assert schedule.table is None or float(clean.t) == -1.0
    level = schedule.at(jnp.linspace(0.0503, 0.9507, 19))  # between the entries of a table
    assert level.shape == (19,) and level.alpha.dtype == jnp.float64
    assert np.all(np.diff(level.sigma / level.alpha) > 0)
    again = schedule.at_log_snr(level.log_snr)
    np.testing.assert_allclose(again.alpha, level.alpha, rtol=1e-6)
    np.testing.assert_allclose(again.sigma, level.sigma, rtol=1e-6)
    np.testing.assert_allclose(again.t, level.t, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(again.log_snr, level.log_snr, atol=1e-9)


@TABLE_BUILDERS
@pytest.mark.float64
def test_at_passes_through_the_table_and_ends_at_its_last_level(build):
    schedule = build(100)
    jax.tree.map(
        lambda end, last: np.testing.assert_allclose(end, last, atol=1e-12), schedule.at(1.0), schedule.table[-1]
    )
    levels = schedule.at(jnp.linspace(0.1, 1.0, 901))
    np.testing.assert_allclose(levels.alpha**2 + levels.sigma**2, 1, atol=1e-6)
    nearest = np.abs(np.asarray(levels.t)[:, None] - np.arange(100)).min(axis=0)[10:]
    assert nearest.max() <= 0.15, "each table entry past the first ten is met by the fine grid"


@TABLE_BUILDERS
def test_at_ends_at_the_last_entry_to_the_last_bit_in_float32_with_the_slope_of_its_chord(build):
    assert jax.grad(lambda u: build().at(u).alpha)(1.0) < 0
    jax.tree.map(np.testing.assert_array_equal, build().at(1.0), jax.tree.map(np.float32, build().table[-1]))


@BUILDERS
def test_at_is_a_function_of_data_of_any_shape_under_jit_vmap_and_grad(build):
    schedule = build()

    def there_and_back(u):
        level = schedule.at(u)
        return level, schedule.at_log_snr(level.log_snr)

    for (level, again), shape in (
        (there_and_back(0.5), ()),
        (jax.eval_shape(there_and_back, jnp.full((2, 3), 0.5)), (2, 3)),
    ):
        assert level.shape == again.shape == shape and level.alpha.dtype == level.sigma.dtype == jnp.float32

    @in_numpy
    def answers(schedule, u):
        slopes = jax.jacrev(schedule.at)(u), jax.jacfwd(schedule.at_log_snr)(schedule.at(u).log_snr)
        at_ends = jax.vmap(jax.grad(lambda v: schedule.at(v).alpha + schedule.at(v).sigma))(jnp.array([0.0, 1.0]))
        return schedule.at(u), jax.vmap(schedule.at)(u), (slopes, at_ends)

    u = jnp.array([0.2, 0.5, 0.9])
    full, mapped, slopes = answers(schedule, u)
    for level in (full, mapped):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), level, schedule.at(u))
    assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(slopes))


@pytest.mark.float64
def test_flow_is_the_straight_line_and_shift_multiplies_its_noise_ratio():
    flow, u = schedules.flow(), jnp.array([0.0, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(flow.at(u).alpha, 1 - u, atol=1e-15)
    np.testing.assert_allclose(flow.at(u).sigma, u, atol=1e-15)
    np.testing.assert_allclose(flow.at(u).t, 1000 * u, atol=1e-12)
    np.testing.assert_allclose(flow.at_log_snr(jnp.array(2 * np.log(3))).sigma, 0.25, rtol=1e-12)
    shifted, inner = schedules.shifted(flow, 3.0), jnp.linspace(0.1, 0.9, 9)
    half = shifted.at(0.5)
    np.testing.assert_allclose((half.alpha, half.sigma, half.t), (0.25, 0.75, 750.0), rtol=1e-12)
    np.testing.assert_allclose(shifted.at(inner).log_snr, flow.at(inner).log_snr - 2 * np.log(3), rtol=1e-12)
    assert float(shifted.at(1.0).alpha) == 0.0 and float(shifted.at(0.0).sigma) == 0.0


def test_shift_lowers_the_log_snr_of_a_table_keeps_its_zero_and_of_one_changes_nothing():
    cosine, linear = schedules.cosine(), schedules.linear()
    np.testing.assert_allclose(
        schedules.shifted(cosine, 2.0).table.log_snr, cosine.table.log_snr - 2 * np.log(2), atol=1e-9
    )
    ends = schedules.shifted(schedules.zero_terminal_snr(linear), 2.0).table
    assert ends.alpha[-1] == 0.0 and ends.sigma[-1] == 1.0
    np.testing.assert_allclose(schedules.shifted(linear, 1.0).table.alpha, linear.table.alpha, rtol=1e-12)


@pytest.mark.parametrize("family", [schedules.Schedule, parameterization.Parameterization, sampling.Sampler])
def test_a_family_without_its_formulas_cannot_be_built(family):
    with pytest.raises(TypeError, match="abstract"):
        records.record(type("Empty", (family,), {}))()
