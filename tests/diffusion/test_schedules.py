"""Schedules against the values of their papers: float64 tables of 1000 steps, the Karras grid, the straight path and its shift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import schedules
from gendiff.diffusion.types import Level
from tests.diffusion.families import SCHEDULES, TABLES, every

BUILDERS = every("build", SCHEDULES)
TABLE_BUILDERS = every("build", TABLES)
CHAINS = pytest.mark.parametrize("build", [schedules.linear, schedules.scaled_linear, schedules.cosine, schedules.sigmoid])


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
    found = alpha_bar(build())[[0, 499, 999]]
    np.testing.assert_allclose(found, (first, middle, last), rtol=2e-7)
    np.testing.assert_allclose(found[:2], (first, middle), atol=5.1e-11)
    ratios = table.sigma / table.alpha
    assert ratios.max() == ratios[-1] == pytest.approx(ratio, rel=5e-7) == schedules.max_noise_ratio(build())


def test_scaled_linear_and_linear_run_as_published():
    table = schedules.scaled_linear().table
    assert table.sigma[0] / table.alpha[0] == pytest.approx(0.029167, rel=3e-5)
    assert table.log_snr[-1] == pytest.approx(-5.3640, abs=5.1e-5)
    assert schedules.linear().table.log_snr[-1] == pytest.approx(-10.1177, abs=5.1e-5)


def test_zero_terminal_snr_ends_at_exactly_zero_and_starts_as_before():
    before, after = schedules.scaled_linear(), schedules.zero_terminal_snr(schedules.scaled_linear())
    found = alpha_bar(after)
    assert found[999] == 0.0 and after.table.sigma[999] == 1.0
    assert found[998] == pytest.approx(1.967888e-7, rel=5e-7)
    assert found[499] == pytest.approx(0.24235917, abs=5.1e-9)
    assert found[0] == pytest.approx(0.99915, abs=1e-12)
    root = before.table.alpha
    np.testing.assert_allclose(after.table.alpha, (root - root[-1]) * root[0] / (root[0] - root[-1]), atol=1e-14)
    assert schedules.max_noise_ratio(after) == np.inf


def test_scaled_linear_is_linear_in_the_root_of_beta():
    found = alpha_bar(schedules.scaled_linear(50))
    beta = 1 - found[1:] / found[:-1]
    np.testing.assert_allclose(np.sqrt(beta), np.linspace(0.00085**0.5, 0.012**0.5, 50)[1:], rtol=1e-10)


def test_cosine_follows_the_squared_cosine_until_beta_is_clipped():
    steps = 20

    def f(t):
        return np.cos((t / steps + 0.008) / 1.008 * np.pi / 2) ** 2

    t = np.arange(steps)
    found = alpha_bar(schedules.cosine(steps))
    np.testing.assert_allclose(found[:-1], (f(t + 1) / f(0))[:-1], rtol=1e-12)
    assert found[-1] / found[-2] == pytest.approx(1 - 0.999, rel=1e-9)


def test_sigmoid_is_the_sigmoid_of_chen_2023_between_its_ends():
    steps, start, end, tau = 1000, -3.0, 3.0, 0.7

    def falling(u):
        def s(x):
            return 1 / (1 + np.exp(-x / tau))

        return (s(end) - s(u * (end - start) + start)) / (s(end) - s(start))

    found = alpha_bar(schedules.sigmoid(steps, start, end, tau))
    u = (np.arange(steps) + 1) / steps
    np.testing.assert_allclose(found[:-1], falling(u)[:-1], rtol=1e-9)
    assert 0 <= found[-1] < found[-2]


def test_from_betas_is_the_running_product_and_from_alpha_bar_its_inverse():
    betas = np.array([0.1, 0.2, 0.4, 0.9])
    chain = schedules.from_betas(betas)
    np.testing.assert_allclose(alpha_bar(chain), [0.9, 0.72, 0.432, 0.0432], rtol=1e-14)
    np.testing.assert_allclose(schedules.from_alpha_bar(alpha_bar(chain)).table.alpha, chain.table.alpha, rtol=1e-14)
    linear = schedules.linear(100)
    np.testing.assert_allclose(schedules.from_betas(np.linspace(1e-4, 0.02, 100)).table.alpha, linear.table.alpha, rtol=1e-14)


@TABLE_BUILDERS
def test_tables_are_float64_variance_preserving_and_strictly_noisier(build):
    table = build(250).table
    for field in (table.alpha, table.sigma):
        assert isinstance(field, np.ndarray) and field.dtype == np.float64 and field.shape == (250,)
    np.testing.assert_allclose(table.alpha**2 + table.sigma**2, 1, atol=1e-14)
    np.testing.assert_array_equal(table.t, np.arange(250))
    assert np.all(np.diff(table.alpha) < 0) and np.all(np.diff(table.sigma) >= 0) and np.all(np.diff(table.log_snr) < 0)
    assert table.alpha[0] < 1 and table.alpha[-1] >= 0


@BUILDERS
def test_clean_level_is_clean_and_scalar(build):
    schedule = build()
    clean = schedule.clean
    assert clean.shape == () and float(clean.alpha) == 1.0 and float(clean.sigma) == 0.0
    if schedule.table is not None:
        assert float(clean.t) == -1.0


@BUILDERS
@pytest.mark.float64
def test_noise_grows_with_u_and_log_snr_finds_the_same_level(build):
    schedule = build()
    u = jnp.linspace(0.0503, 0.9507, 19)  # between the entries of a table
    level = schedule.at(u)
    assert level.shape == (19,) and level.alpha.dtype == jnp.float64
    ratio = np.asarray(level.sigma / level.alpha)
    assert np.all(np.diff(ratio) > 0)
    again = schedule.at_log_snr(level.log_snr)
    np.testing.assert_allclose(again.alpha, level.alpha, rtol=1e-6)
    np.testing.assert_allclose(again.sigma, level.sigma, rtol=1e-6)
    np.testing.assert_allclose(again.t, level.t, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(again.log_snr, level.log_snr, atol=1e-9)


@TABLE_BUILDERS
@pytest.mark.float64
def test_at_passes_through_the_table_and_ends_at_its_last_level(build):
    schedule = build(100)
    last, end = schedule.table[-1], schedule.at(1.0)
    for field in ("t", "alpha", "sigma"):
        np.testing.assert_allclose(getattr(end, field), getattr(last, field), atol=1e-12)
    levels = schedule.at(jnp.linspace(0.1, 1.0, 901))
    np.testing.assert_allclose(levels.alpha**2 + levels.sigma**2, 1, atol=1e-6)
    nearest = np.abs(np.asarray(levels.t)[:, None] - np.arange(100)).min(axis=0)[10:]
    assert nearest.max() <= 0.15, "each table entry past the first ten is met by the fine grid"


@BUILDERS
def test_levels_have_the_dtype_asked_for_and_any_shape(build):
    schedule = build()
    for u in (0.5, jnp.array(0.5), jnp.full((3,), 0.5), jnp.full((2, 3), 0.5)):
        level = schedule.at(u)
        assert level.shape == jnp.shape(u) and level.alpha.dtype == level.sigma.dtype == jnp.float32
        assert schedule.at_log_snr(level.log_snr).shape == jnp.shape(u)


@BUILDERS
def test_at_is_a_function_of_data_under_jit_vmap_and_grad(build):
    schedule = build()
    u = jnp.array([0.2, 0.5, 0.9])
    plain = schedule.at(u)
    for level in (jax.jit(lambda s, v: s.at(v))(schedule, u), jax.vmap(schedule.at)(u)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), level, plain)

    @jax.jit
    def slopes(u):
        level = schedule.at(u)
        return jax.jacrev(schedule.at)(u), jax.jacfwd(schedule.at_log_snr)(level.log_snr)

    assert all(np.all(np.isfinite(slope)) for slope in jax.tree.leaves(slopes(u)))
    for end in (0.0, 1.0):
        assert np.isfinite(jax.grad(lambda v: schedule.at(v).alpha + schedule.at(v).sigma)(end))


@pytest.mark.float64
def test_edm_path_through_u_is_the_karras_grid():
    published = [80, 57.585985, 40.785574, 28.374585, 19.352453, 12.910082, 8.400935, 5.315195, 3.256822]
    published += [1.92334, 1.088171, 0.585348, 0.296442, 0.139516, 0.059947, 0.022935, 0.007528, 0.002]
    level = schedules.edm().at(jnp.linspace(1, 0, 18))
    np.testing.assert_allclose(level.sigma, published, atol=5.1e-7)
    np.testing.assert_array_equal(level.alpha, np.ones(18))
    np.testing.assert_allclose(level.t, np.log(published) / 4, atol=1e-4)
    np.testing.assert_allclose(schedules.edm().at(1.0).t, np.log(80) / 4, rtol=1e-12)


@pytest.mark.float64
def test_flow_is_the_straight_line():
    u = jnp.array([0.0, 0.25, 0.5, 1.0])
    level = schedules.flow().at(u)
    np.testing.assert_allclose(level.alpha, 1 - u, atol=1e-15)
    np.testing.assert_allclose(level.sigma, u, atol=1e-15)
    np.testing.assert_allclose(level.t, 1000 * u, atol=1e-12)
    np.testing.assert_allclose(schedules.flow().at_log_snr(jnp.array(2 * np.log(3))).sigma, 0.25, rtol=1e-12)


@pytest.mark.float64
def test_shift_multiplies_the_noise_ratio():
    shifted = schedules.shifted(schedules.flow(), 3.0)
    half = shifted.at(0.5)
    np.testing.assert_allclose((half.alpha, half.sigma, half.t), (0.25, 0.75, 750.0), rtol=1e-12)
    u = jnp.linspace(0.1, 0.9, 9)
    np.testing.assert_allclose(shifted.at(u).log_snr, schedules.flow().at(u).log_snr - 2 * np.log(3), rtol=1e-12)
    assert float(shifted.at(1.0).alpha) == 0.0 and float(shifted.at(0.0).sigma) == 0.0
    table = schedules.shifted(schedules.cosine(), 2.0).table
    np.testing.assert_allclose(table.log_snr, schedules.cosine().table.log_snr - 2 * np.log(2), atol=1e-9)
    ends = schedules.shifted(schedules.zero_terminal_snr(schedules.linear()), 2.0).table
    assert ends.alpha[-1] == 0.0 and ends.sigma[-1] == 1.0


def test_shift_of_one_changes_nothing():
    np.testing.assert_allclose(schedules.shifted(schedules.linear(), 1.0).table.alpha, schedules.linear().table.alpha, rtol=1e-12)


def test_different_settings_are_different_schedules():
    assert schedules.linear(1000) != schedules.linear(999)
    assert schedules.cosine() != schedules.linear()
    assert schedules.edm() != schedules.edm(sigma_max=50.0)
    assert schedules.from_betas([0.1, 0.2]) != schedules.from_betas([0.1, 0.3])
    assert schedules.shifted(schedules.flow(), 2.0) != schedules.shifted(schedules.flow(), 3.0)


@CHAINS
def test_tables_of_one_and_two_steps_exist_and_those_of_fewer_are_refused(build):
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"steps.*{steps}"):
            build(steps)
    for steps in (1, 2):
        table = build(steps).table
        assert table.shape == (steps,) and np.all(np.isfinite(table.alpha)) and np.all(table.sigma > 0)


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda: schedules.linear(10, start=0.0), "start"),
        (lambda: schedules.linear(10, end=1.0), "end"),
        (lambda: schedules.linear(10, start=-0.1), "start"),
        (lambda: schedules.scaled_linear(10, end=1.5), "end"),
        (lambda: schedules.scaled_linear(10, start=float("nan")), "start"),
        (lambda: schedules.cosine(10, max_beta=1.5), "max_beta"),
        (lambda: schedules.cosine(10, offset=-1.0), "offset"),
        (lambda: schedules.sigmoid(10, tau=0.0), "tau"),
        (lambda: schedules.sigmoid(10, start=3.0, end=-3.0), "start|end"),
        (lambda: schedules.from_betas([0.1, 0.0]), "betas"),
        (lambda: schedules.from_betas([0.1, 1.0]), "betas"),
        (lambda: schedules.from_betas([0.1, float("nan")]), "betas"),
        (lambda: schedules.from_betas([]), "betas"),
        (lambda: schedules.from_betas([[0.1, 0.2]]), "betas"),
        (lambda: schedules.from_alpha_bar([0.9, 0.95]), "alpha_bar"),
        (lambda: schedules.from_alpha_bar([0.9, 0.9]), "alpha_bar"),
        (lambda: schedules.from_alpha_bar([1.2, 0.9]), "alpha_bar"),
        (lambda: schedules.from_alpha_bar([0.9, -0.1]), "alpha_bar"),
        (lambda: schedules.from_alpha_bar([0.9, float("nan")]), "alpha_bar"),
        (lambda: schedules.edm(sigma_min=80.0, sigma_max=80.0), "sigma_max.*80"),
        (lambda: schedules.edm(sigma_min=90.0), "sigma_max.*90"),
        (lambda: schedules.edm(sigma_min=0.0), "sigma_min"),
        (lambda: schedules.edm(rho=0.0), "rho"),
        (lambda: schedules.shifted(schedules.flow(), 0.0), "shift"),
        (lambda: schedules.shifted(schedules.flow(), -2.0), "shift"),
        (lambda: schedules.shifted(schedules.flow(), float("nan")), "shift"),
        (lambda: schedules.zero_terminal_snr(schedules.flow()), "table|chain"),
        (lambda: schedules.zero_terminal_snr(schedules.edm()), "table|chain"),
        (lambda: schedules.flow().at(1.5), "u"),
        (lambda: schedules.linear().at(-0.1), "u"),
        (lambda: schedules.linear().at(float("nan")), "u"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_out_of_range_are_refused_by_name(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake()


def test_level_knows_its_shape_and_takes_rows():
    table = schedules.linear(10).table
    assert isinstance(table, Level) and table.shape == (10,) and len(table) == 10
    assert table[3].shape == () and table[3].t == 3 and table[2:5].shape == (3,)
