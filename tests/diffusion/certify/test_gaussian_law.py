"""The exact law of affine samplers: against the recursions of mean and variance written out, and refused where it does
not exist.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.diffusion import oracles, samplers, sampling, schedules
from gendiff.diffusion.certify import gaussian_law
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Level
from tests.refusals import refusals

STD, MEAN, STEPS = np.array([0.3, 1.0, 0.0]), np.array([0.5, -0.2, 1.0]), 5


def levels():
    angle = np.linspace(1.2, 0.1, STEPS + 1)
    return Level(jnp.asarray(angle), jnp.asarray(np.cos(angle)), jnp.asarray(np.sin(angle)))


def law(sampler, steps=STEPS):
    return gaussian_law.law(sampler, STD, MEAN, levels(), steps)


def recursion(step):
    """Mean and variance of x' = a x + b + sqrt(c) z over the grid, where step(level, cleaner) answers (a, b, c)."""
    grid = [jax.tree.map(lambda field, j=j: float(field[j]), levels()) for j in range(STEPS + 1)]
    mean, variance = grid[0].alpha * MEAN, grid[0].alpha ** 2 * STD**2 + grid[0].sigma ** 2
    for level, cleaner in zip(grid, grid[1:], strict=False):
        a, b, c = step(level, cleaner)
        mean, variance = a * mean + b, a**2 * variance + c
    return mean, np.sqrt(variance)


def ddim_moments(eta, added=0.0):
    def step(level, cleaner):
        total = level.alpha**2 * STD**2 + level.sigma**2
        k, p = level.alpha * STD**2 / total, level.sigma / total  # clean = k x + …, noise = p x + …
        fresh = (eta * cleaner.sigma) ** 2 * (1 - (cleaner.sigma * level.alpha / (level.sigma * cleaner.alpha)) ** 2)
        remaining = np.sqrt(cleaner.sigma**2 - fresh)
        return (
            cleaner.alpha * k + remaining * p,
            cleaner.alpha * MEAN * (1 - k * level.alpha) - remaining * p * level.alpha * MEAN,
            fresh + added,
        )

    return recursion(step)


@pytest.mark.float64
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_the_law_of_ddim_is_its_recursion(eta):
    measured, (mean, std) = law(samplers.ddim(eta)), ddim_moments(eta)
    np.testing.assert_allclose(measured.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(measured.std, std, rtol=1e-12)
    np.testing.assert_allclose(measured.exact_mean, np.cos(0.1) * MEAN)
    np.testing.assert_allclose(measured.exact_std, np.hypot(np.cos(0.1) * STD, np.sin(0.1)))
    np.testing.assert_allclose(
        measured.distance, np.hypot(measured.mean - measured.exact_mean, measured.std - measured.exact_std)
    )


@pytest.mark.float64
def test_small_variance_is_exact_for_a_point_mass_and_large_for_unit_gaussians():
    """Ho et al., 2020, Sec. 3.2, with alpha² + sigma² = 1."""
    small, large = law(samplers.ddpm()), law(samplers.ddpm("large"))
    assert small.distance[2] < 1e-15 < 1e-3 < small.distance[1]
    assert abs(large.std[1] - large.exact_std[1]) < 1e-15 and abs(small.std[1] - small.exact_std[1]) > 1e-3


@pytest.mark.float64
def test_a_drawn_sample_has_the_law():
    measured = law(samplers.ddpm())
    count, level = 20000, levels()[0]
    for k in range(2):
        gaussian = oracles.gaussian(STD[k], MEAN[k])
        noise = jax.random.normal(jax.random.key(k), (count, 1))
        start = level.alpha * MEAN[k] + jnp.hypot(level.alpha * STD[k], level.sigma) * noise
        x = sampling.sample(
            jax.random.key(9), gaussian, samplers.ddpm(), levels(), (1,), jnp.arange(count), start=start
        )
        assert abs(float(x.mean()) - measured.mean[k]) < 4 * measured.std[k] / np.sqrt(count)
        assert abs(float(x.std()) / measured.std[k] - 1) < 4 / np.sqrt(2 * count)


# The laws of the SDE forms.


def sde_errors(sampler, eta, steps):
    """Errors of the factor that is carried from the start and of the variance, from sigma/alpha = 5 to 1/5, for data of
    std 0.5.

    With v² = alpha² s² + sigma², x/v is an Ornstein-Uhlenbeck process under the reverse SDE with noise scale eta.
    Between the ends it keeps the factor (alpha v' / (alpha' v))^(eta²), which for eta = 1 makes the pair of ends
    distributed as in the forward chain.
    """
    ends = schedules.flow().at_log_snr(np.linspace(-2 * np.log(5), 2 * np.log(5), steps + 1))
    measured = gaussian_law.law(sampler, np.array([0.5]), np.zeros(1), jax.tree.map(jnp.asarray, ends), steps)
    spread = np.hypot(ends.alpha * 0.5, ends.sigma)
    remaining = (ends.alpha[0] / ends.alpha[-1] * spread[-1] / spread[0]) ** (eta**2)
    carried, added = measured.carried[0], measured.std[0] ** 2 - (measured.carried[0] * spread[0]) ** 2
    return np.array(
        [abs(carried - remaining * spread[-1] / spread[0]), abs(added - spread[-1] ** 2 * (1 - remaining**2))]
    )


multistep, FLOW = samplers.dpm_solver_multistep, schedules.flow()


@pytest.mark.float64
@pytest.mark.parametrize(
    ("sampler", "eta", "expected"),
    [
        (multistep(1, eta=0.5), 0.5, 1),
        (multistep(2, eta=0.5, formula="exact"), 0.5, 2),
        (multistep(2, eta=1.0, formula="exact"), 1.0, 2),
        (samplers.dpm_solver_single(FLOW, 2, eta=0.5), 0.5, 2),
        (samplers.dpm_solver_single(FLOW, 2, eta=1.0), 1.0, 2),
    ],
    ids=["1", "2M", "2M eta one", "2S", "2S eta one"],
)
def test_weak_orders_of_the_sde_forms(sampler, eta, expected):
    orders = np.log2(sde_errors(sampler, eta, 64) / sde_errors(sampler, eta, 128))
    assert orders[1] == pytest.approx(expected, abs=0.1)
    if eta != 1:  # for eta = 1 the mean is exact in any number of steps: the clean prediction is a martingale
        assert orders[0] == pytest.approx(expected, abs=0.1)


@pytest.mark.float64
def test_sde_forms_of_higher_order_are_nearer_to_the_law_of_the_sde():
    first, third = (sde_errors(multistep(order, eta=1.0), 1.0, 64) for order in (1, 3))
    assert first[0] < 1e-12 and third[0] < 1e-12
    assert first[1] > 5e-3 and third[1] < 1e-4


# Which noise has a law.


@records.record
class Noisy(sampling.Sampler):
    """DDIM plus what `draw` makes of the noise of a step."""

    draw: object = records.static()

    def step(self, noise, denoise, state, level, cleaner, left):
        return sampling.State(ancestral.ddim_step(denoise(state.x, level), level, cleaner) + self.draw(noise, state.x))


def several(noise, x):
    return sum((k + 1) * noise(x, k + 1) for k in range(3))


def nested(noise, x):
    return 2.0 * sampling.InnerNoise(noise, 1)(x, 2) - 2.0 * noise(x, 2)


def used_twice(noise, x):
    return noise(x) + 0.5 * noise(x)


@pytest.mark.float64
@pytest.mark.parametrize(("draw", "variance"), [(several, 1 + 4 + 9), (nested, 8), (used_twice, 2.25)])
def test_draws_are_told_apart_by_their_parts(draw, variance):
    """Each of a step's draws counts by its square; one draw used twice is one draw."""
    measured, (mean, std) = law(Noisy(draw)), ddim_moments(0.0, added=variance)
    np.testing.assert_allclose(measured.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(measured.std, std, rtol=1e-12)


def increments_at(noise, x):
    return noise(jnp.zeros((len(x), 2), x.dtype))


@pytest.mark.float64
@pytest.mark.parametrize(
    "draw",
    [
        lambda noise, x: jnp.sum(increments_at(noise, x), axis=1, keepdims=True),
        lambda noise, x: jnp.diff(increments_at(noise, x), axis=1),
        lambda noise, x: noise(x) ** 2,
        lambda noise, x: x * noise(x),
        lambda noise, x: noise(x, 1) * noise(x, 2),
    ],
    ids=["several in one", "difference", "squared", "scaled by x", "product"],
)
def test_noise_that_cannot_be_read_off_is_refused(draw):
    with pytest.raises(gaussian_law.NoLawError, match="not affine in its noise"):
        law(Noisy(draw))


@pytest.mark.float64
def test_a_step_that_is_not_affine_in_x_is_refused():
    with pytest.raises(gaussian_law.NoLawError, match="not affine in x"):
        law(Noisy(lambda noise, x: 0.1 * jnp.sin(x)))


test_steps_that_the_grid_does_not_have_are_refused = refusals(
    (lambda: law(samplers.ddim(), STEPS + 1), "num_steps = 6"),
    (lambda: law(samplers.ddim(), 0), "num_steps = 0"),
)


@pytest.mark.float64
def test_noise_from_a_source_of_its_own_is_refused():
    with pytest.raises(gaussian_law.NoLawError, match="a source of its own"):
        law(samplers.fixed_path(samplers.ddpm()))


@pytest.mark.float64
def test_one_compile_serves_every_number_of_steps():
    traces = []

    def counted(noise, x):
        traces.append(1)
        return used_twice(noise, x)

    sampler = Noisy(counted)
    law(sampler)
    before = len(traces)
    for steps in (1, 3, STEPS):
        law(sampler, steps)
    # each call looks at a step once, to count its draws; the first one compiles
    assert (before, len(traces) - before) == (2, 3)
