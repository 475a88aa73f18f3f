"""The variational bound: where it is exact it is exact, where it is not its gap is known, and the path between two ends
does not enter.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.diffusion import denoiser, elbo, grids, oracles, parameterization, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Level
from tests.quickly import in_numpy, quickly

LOG2, KEY = math.log(2.0), jax.random.key(0)
GAUSSIAN, NARROW, X = oracles.gaussian(0.5), oracles.gaussian(0.5, 0.2), 0.6
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def normal_nats(x, std, mean=0.0):
    return (x - mean) ** 2 / (2 * std**2) + math.log(std) + math.log(2 * math.pi) / 2


@partial(jax.jit, static_argnames="variance")
def chain_parts(oracle, x, levels, variance):
    """Every step's expectation over the noise (by quadrature), for a one-dimensional x ()."""
    noise, xs = jnp.asarray(NODES)[:, None], jnp.full((len(NODES), 1), x)
    return jax.lax.map(
        lambda j: WEIGHTS @ elbo.chain_term(oracle, xs, noise, levels, j, variance=variance),
        jnp.arange(len(levels) - 1),
    )


def chain_nats(oracle, x, levels, variance, prior_std=None):
    top, std = levels[0], levels[0].sigma if prior_std is None else prior_std
    prior = (top.sigma**2 + top.alpha**2 * x**2) / std**2 / 2 - 0.5 - np.log(top.sigma / std)
    return float(prior + jnp.sum(chain_parts(oracle, x, levels, variance)))


# The discrete chain.


@pytest.mark.float64
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_fixed_large_is_exact_for_unit_gaussian_data_at_any_number_of_steps(steps):
    levels = grids.trailing(schedules.linear(), steps)
    for x in (-1.3, 0.2):
        assert chain_nats(oracles.gaussian(1.0), x, levels, "large", prior_std=1.0) == pytest.approx(
            normal_nats(x, 1.0), rel=1e-9
        )


@pytest.mark.float64
def test_fixed_small_makes_a_point_mass_cost_nothing_between_its_ends():
    parts = chain_parts(oracles.gaussian(0.0, 0.7), 0.7, grids.trailing(schedules.cosine(), 6), "small")
    np.testing.assert_allclose(parts[:-1], 0.0, atol=1e-12)


@pytest.mark.float64
def test_the_chain_bounds_the_likelihood_and_tightens_with_its_steps():
    exact, schedule = normal_nats(X, 0.5, 0.2), schedules.zero_terminal_snr(schedules.cosine(1000))
    gaps = [chain_nats(NARROW, X, grids.trailing(schedule, steps), "large") - exact for steps in (10, 100, 1000)]
    assert gaps[0] > gaps[1] > gaps[2] > 0, gaps
    assert chain_nats(NARROW, X, grids.trailing(schedule, 10), "small") > exact


def replaced(**fields):
    """The Gaussian's denoiser with fields of its prediction made anew from x."""
    return lambda x, level: records.replace(GAUSSIAN(x, level), **{name: make(x) for name, make in fields.items()})


@pytest.mark.float64
def test_a_learned_share_of_one_is_large_and_of_zero_is_small_and_the_best_is_between():
    def nats(share, x, noise, j, variance="learned"):
        denoise = replaced(variance_share=lambda x: jnp.full_like(x, share))
        return elbo.chain_term(denoise, x, noise, levels, j, variance=variance)

    noise, x, levels = (
        jnp.asarray(NODES)[:, None],
        jnp.full((len(NODES), 1), 0.4),
        grids.trailing(schedules.cosine(), 5),
    )

    @partial(jax.jit, static_argnums=1)
    def total(share, variance):
        return jax.lax.map(lambda j: WEIGHTS @ nats(share, x, noise, j, variance), jnp.arange(5))

    for share, fixed in ((0.0, "small"), (1.0, "large")):
        np.testing.assert_allclose(total(share, "learned"), total(0.0, fixed), rtol=1e-10)
    level, cleaner = levels[1], levels[2]
    small = cleaner.sigma**2 * (1 - (level.alpha * cleaner.sigma / cleaner.alpha / level.sigma) ** 2)
    large = small * (level.sigma / cleaner.sigma) ** 2
    prediction = replaced(variance_share=lambda x: jnp.full_like(x, 0.3))(x, level)
    mixed = elbo.reverse_log_variance(prediction, math.log(small), math.log(large), "learned")
    np.testing.assert_allclose(jnp.exp(mixed / 2), ancestral.learned_std(prediction, level, cleaner), rtol=1e-9)
    # The best variance of E over x as well is the true one of p(x_s | x_t), here in closed form.
    left = 1 / (1 / 0.25 + (level.alpha / level.sigma) ** 2)  # Var(clean | x_t)
    true = small + (cleaner.alpha * large / level.sigma**2) ** 2 * left
    best = math.log(true / small) / math.log(large / small)

    @jax.jit
    def over_data(share):
        data, noise = (grid.reshape(-1, 1) for grid in jnp.meshgrid(0.5 * NODES, jnp.asarray(NODES), indexing="ij"))
        return np.kron(WEIGHTS, WEIGHTS) @ nats(share, data, noise, 1)

    assert 0 < best < 1
    assert over_data(best) < min(over_data(best - 0.05), over_data(best + 0.05))


@pytest.mark.float64
def test_the_masses_of_all_values_add_up_to_one():
    """Through a chain of one step: exp(-term) is the mass of the value."""
    values, fixed = np.linspace(-1, 1, 17)[:, None], replaced(clean=lambda x: jnp.full_like(x, 0.31))
    term = in_numpy(
        lambda levels: elbo.chain_term(fixed, values, 0 * values, levels, 0, variance="large", data_levels=17)
    )
    for sigma in (0.9, 0.3, 0.02):
        levels = Level(np.array([10.0, -1.0]), np.array([math.sqrt(1 - sigma**2), 1.0]), np.array([sigma, 0.0]))
        assert np.sum(np.exp(-term(levels))) == pytest.approx(1.0, abs=1e-12), sigma


def test_far_values_have_a_finite_mass_and_gradient():
    levels = Level(jnp.array([0.0, -1.0]), jnp.array([0.9999, 1.0]), jnp.array([0.01, 0.0]))
    values = jnp.linspace(-1, 1, 256)[:, None]

    @jax.jit
    @jax.value_and_grad
    def nats(shift):
        return jnp.sum(
            elbo.chain_term(replaced(clean=lambda x: x + shift), values, 0 * values, levels, 0, data_levels=256)
        )

    assert np.all(np.isfinite([nats(shift) for shift in (0.0, 0.3, -2.0)]))


@jax.jit
def discrete(oracle, x, levels, index):
    return elbo.discrete(KEY, oracle, x, levels, index, variance="large", prior_std=1.0, offset=3.0, draws=8)


@pytest.mark.float64
def test_drawing_agrees_with_the_exact_value_within_its_error():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 4)))
    bound = discrete(oracles.gaussian(1.0), x, grids.trailing(schedules.linear(), 5), jnp.arange(32))
    exact = 3 + np.mean(normal_nats(np.asarray(x), 1.0), axis=1) / LOG2
    ratio = (np.asarray(bound.bits) - exact) / bound.standard_error
    assert np.abs(ratio).max() < 6 and 0.7 < np.sqrt(np.mean(ratio**2)) < 1.6
    np.testing.assert_allclose(bound.prior + bound.diffusion + bound.reconstruction + 3, bound.bits, rtol=1e-12)


# Continuous time.

SPAN_NODES, SPAN_WEIGHTS = np.polynomial.legendre.leggauss(200)


@jax.jit
def diffusion_nats(oracle, x, schedule, span):
    """The integral over u in the span and the expectation over noise, by quadrature, for a one-dimensional x ()."""
    low, high = span
    noise, xs = jnp.asarray(NODES)[:, None], jnp.full((len(NODES), 1), x)
    u = low + (high - low) * (jnp.asarray(SPAN_NODES) + 1) / 2
    rates = jax.lax.map(lambda u: WEIGHTS @ elbo.path_rate(oracle, xs, noise, schedule, jnp.full(len(NODES), u)), u)
    return (high - low) / 2 * SPAN_WEIGHTS @ rates


def flow_u(log_snr):
    return 1 / (1 + np.exp(np.asarray(log_snr) / 2))


@pytest.mark.float64
@pytest.mark.parametrize("ends", [(4.0, -4.0), (8.0, -6.0)])
def test_the_exact_denoiser_exceeds_the_likelihood_by_what_prior_and_decoder_miss(ends):
    """E log q(x_T)/p(x_T) over q(x_T | x), and the same of q(x | x_0) and the flat decoder: closed form for Gaussian
    data.
    """
    s, x, schedule = 0.5, 0.7, schedules.flow()
    low, high = flow_u(ends)
    total = float(diffusion_nats(oracles.gaussian(s), x, schedule, (low, high)))
    clean, noisy = schedule.at(np.float64(low)), schedule.at(np.float64(high))
    ratio = clean.sigma / clean.alpha
    total += (noisy.alpha * x / noisy.sigma) ** 2 / 2 + math.log(ratio) + math.log(2 * math.pi) / 2 + 0.5
    spread = noisy.alpha**2 * s**2 + noisy.sigma**2
    second = noisy.alpha**2 * x**2 + noisy.sigma**2  # of x_T given x
    prior_misses = second / (2 * noisy.sigma**2) - second / (2 * spread) + math.log(noisy.sigma) - math.log(spread) / 2
    # x given x_0 is N(shrink x_0 / alpha, left)
    shrink, left = s**2 / (s**2 + ratio**2), s**2 * ratio**2 / (s**2 + ratio**2)
    off = ((1 - shrink) * x) ** 2 + (shrink * ratio) ** 2
    decoder_misses = 0.5 + math.log(ratio) - off / (2 * left) - math.log(left) / 2
    assert total - normal_nats(x, s) == pytest.approx(prior_misses + decoder_misses, abs=1e-8)
    assert 0 < prior_misses + decoder_misses < 30 * (math.exp(-ends[0]) + math.exp(ends[1]))


@pytest.mark.float64
def test_the_path_between_two_ends_does_not_enter():
    mixture, flow, ends = (
        oracles.mixture([0.3, 0.7], [[-1.0], [0.8]], [0.2, 0.3]),
        schedules.flow(),
        np.array([6.0, -6.0]),
    )
    paths = [
        (flow, tuple(flow_u(ends))),
        (schedules.edm(math.exp(-3), math.exp(3)), (0.0, 1.0)),
        (schedules.shifted(flow, 3.0), tuple(flow_u(ends + 2 * math.log(3)))),
    ]
    nats = [diffusion_nats(mixture, 0.4, schedule, span) for schedule, span in paths]
    np.testing.assert_allclose(nats[1:], nats[0], rtol=1e-5)


@pytest.mark.float64
def test_the_chain_tends_to_continuous_time():
    schedule, gaps = schedules.flow(), []
    full = float(diffusion_nats(NARROW, X, schedule, tuple(flow_u((5.0, -5.0)))))
    for steps in (50, 100, 200):
        levels = grids.log_snr(schedule, steps, sigma_min=math.exp(-2.5), sigma_max=math.exp(2.5), end="first")
        gaps.append(float(jnp.sum(chain_parts(NARROW, X, levels, "small"))) - full)
    assert gaps[0] > gaps[1] > gaps[2] > 0 and 0.9 < math.log2(gaps[1] / gaps[2]) < 1.1, gaps


@jax.jit
def continuous(oracle, x, index, span):
    return elbo.continuous(KEY, oracle, x, schedules.flow(), index, span=span, draws=32)


@pytest.mark.float64
def test_drawn_times_agree_with_quadrature_within_the_error_bar():
    span = (0.02, 1.0)
    exact = float(diffusion_nats(NARROW, X, schedules.flow(), span)) / LOG2
    bound = continuous(NARROW, jnp.full((64, 1), X), jnp.arange(64), span)
    assert np.abs(np.mean(bound.diffusion) - exact) < 4 * np.sqrt(np.mean(bound.standard_error**2) / 64)
    assert np.var(bound.diffusion) < np.mean(bound.standard_error**2), "stratified, so the bar is an upper estimate"


@pytest.mark.float64
@pytest.mark.parametrize(("std", "bits", "atol"), [(0.01, 0.0, 1e-6), (50.0, math.log2(17), 0.05)])
def test_whole_values_are_told_apart_by_the_decoder_where_the_noise_is_small(std, bits, atol):
    """The mean over the noise is the entropy left: 0 bits at a small noise, all log2(17) of them at a large one."""
    x, index = jnp.full((64, 4), 0.25), jnp.arange(64)
    bound = elbo.continuous(KEY, GAUSSIAN, x, schedules.edm(std, 80.0), index, data_levels=17, draws=2)
    np.testing.assert_allclose(bound.reconstruction, bits, atol=atol)


# Both.


def test_a_sample_has_its_value_alone_in_any_order_and_in_a_padded_chain_and_no_error_bar_from_one_draw():
    x = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    levels, order = grids.trailing(schedules.flow(), 4), np.array([3, 0, 4, 1, 2])
    again = np.full(5, 2)  # of one shape, so that one program answers
    for run in (lambda x, i: discrete(GAUSSIAN, x, levels, i), lambda x, i: continuous(GAUSSIAN, x, i, (0.02, 1.0))):
        full, shuffled, alone = run(x, np.arange(5)), run(x[order], order), run(x[again], again)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(full))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[order], rtol=2e-5, atol=5e-6), shuffled, full)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[again], rtol=2e-5, atol=5e-6), alone, full)
    full, padded = (discrete(GAUSSIAN, x, chain, jnp.arange(5)) for chain in (levels, grids.padded(levels, 7)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), padded, full)
    once = quickly(lambda x: elbo.discrete(KEY, GAUSSIAN, x, levels, jnp.arange(5)))(x)
    assert np.all(np.isposinf(once.standard_error)) and np.all(np.isfinite(once.bits))


def test_data_of_half_precision_have_the_bound_of_these_numbers_in_float32():
    x, levels = jnp.full((2, 3), 0.71, jnp.bfloat16), grids.trailing(schedules.linear(), 4)
    for run in (
        lambda x: discrete(GAUSSIAN, x, levels, jnp.arange(2)),
        lambda x: continuous(GAUSSIAN, x, jnp.arange(2), (0.02, 1.0)),
    ):
        jax.tree.map(np.testing.assert_array_equal, run(x), run(x.astype(jnp.float32)))


def network(params, x, t):
    output = jnp.tanh(params * x) + 1e-3 * t.astype(x.dtype)[:, None]
    return jnp.concatenate([output, jnp.tanh(params + x)], axis=-1)


def test_values_and_gradients_are_finite_at_few_steps_on_every_schedule():
    zero = schedules.zero_terminal_snr(schedules.scaled_linear())

    def denoise(params):
        return denoiser.from_network(network, params, parameterization.velocity(), learned_variance=True)

    def chain(params, x, levels):
        learned = elbo.discrete(KEY, denoise(params), x, levels, jnp.arange(2), variance="learned")
        return jnp.sum(
            learned.bits + elbo.discrete(KEY, denoise(params), x, levels, jnp.arange(2), data_levels=17).bits
        )

    def path(params, x, schedule):
        return jnp.sum(
            elbo.continuous(KEY, denoise(params), x, schedule, jnp.arange(2), span=(0.01, 1.0), draws=2).bits
        )

    of_chain = quickly(jax.value_and_grad(chain, argnums=(0, 1, 2)))
    of_path = quickly(jax.value_and_grad(path, argnums=(0, 1)), static_argnums=2)
    gain, x = jnp.float32(0.7), jnp.array([[1.0, -0.5, 0.25]] * 2)
    for schedule in (schedules.linear(), schedules.cosine(), zero, schedules.edm(), schedules.flow()):
        results = [of_chain(gain, x, grids.padded(grids.trailing(schedule, steps), 3)) for steps in (1, 2, 3)]
        if schedule in (zero, schedules.flow()):
            results.append(of_path(gain, x, schedule))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(results)), schedule
