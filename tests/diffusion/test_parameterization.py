"""The forward process and the parameterizations: closed form, chain and posterior agree, and each target gives back
both forms.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import arrays
from gendiff.diffusion import grids, parameterization, process, samplers, sampling, schedules
from gendiff.diffusion.denoiser import from_network
from gendiff.diffusion.types import Level
from tests.diffusion.families import PARAMETERIZATIONS, for_each
from tests.quickly import quickly

# (level, cleaner) of a variance-preserving, an exploding, a straight and a scaled path, and a step that starts at zero
# signal
PAIRS = {
    "preserving": (Level(500.0, 0.6, 0.8), Level(300.0, 0.8, 0.6)),
    "exploding": (Level(0.4, 1.0, 5.0), Level(0.1, 1.0, 2.0)),
    "straight": (Level(700.0, 0.3, 0.7), Level(400.0, 0.6, 0.4)),
    "scaled": (Level(1.0, 2.0, 3.0), Level(0.5, 2.0, 1.0)),
    "from zero signal": (Level(999.0, 0.0, 1.0), Level(900.0, 0.5, 0.75**0.5)),
}
pairs = pytest.mark.parametrize(("level", "cleaner"), PAIRS.values(), ids=PAIRS.keys())
levels = pytest.mark.parametrize("level", [level for level, _ in PAIRS.values()][:4], ids=list(PAIRS)[:4])
every_kind = for_each("build", PARAMETERIZATIONS)


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


# The forward process.


@pytest.mark.float64
@pytest.mark.parametrize(
    "shape", [(3, 5), (3, 4, 2), (3, 4, 4, 2), (3, 2, 2, 2, 2)], ids=["vector", "sequence", "image", "volume"]
)
def test_add_noise_is_alpha_clean_plus_sigma_noise_for_any_rank(shape):
    clean, noise = rand(0, *shape), rand(1, *shape)
    np.testing.assert_allclose(
        process.add_noise(clean, noise, Level(1.0, 0.6, 0.8)), 0.6 * clean + 0.8 * noise, rtol=1e-14
    )
    alpha, sigma = np.array([[1.0, 0.6, 0.0], [0.0, 0.8, 1.0]])
    expected = arrays.expand(alpha, clean) * clean + arrays.expand(sigma, noise) * noise
    np.testing.assert_allclose(process.add_noise(clean, noise, Level(np.zeros(3), alpha, sigma)), expected, rtol=1e-14)


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.linear, schedules.cosine, schedules.scaled_linear])
def test_the_chain_composes_to_the_closed_form(build):
    table, cleaner, mean, variance = build(1000).table, build(1000).clean, 1.0, 0.0
    one, zero = jnp.ones((1, 1)), jnp.zeros((1, 1))

    def factors(cleaner, level):
        """What a step multiplies the sample and the noise by."""
        return (float(process.forward_step(*inputs, cleaner, level)[0, 0]) for inputs in ((one, zero), (zero, one)))

    for level in [table[i] for i in range(0, 1000, 37)] + [table[999]]:
        gain, spread = factors(cleaner, level)
        mean, variance, cleaner = gain * mean, gain**2 * variance + spread**2, level
        assert mean == pytest.approx(level.alpha, rel=1e-10)
        assert variance == pytest.approx(level.sigma**2, rel=1e-10)
    if build is schedules.linear:
        beta = np.linspace(1e-4, 0.02, 1000)[42]
        assert list(factors(table[41], table[42])) == pytest.approx([np.sqrt(1 - beta), np.sqrt(beta)], rel=1e-9)


@pytest.mark.float64
@pairs
def test_posterior_is_bayes_rule_on_two_gaussians_and_towards_clean_data_the_clean_sample(level, cleaner):
    x, clean = rand(0, 2, 3), rand(1, 2, 3)
    mean, std = process.posterior(x, clean, level, cleaner)
    ratio = level.alpha / cleaner.alpha
    added = level.sigma**2 - ratio**2 * cleaner.sigma**2
    precision = 1 / cleaner.sigma**2 + ratio**2 / added
    np.testing.assert_allclose(np.broadcast_to(std, x.shape), precision**-0.5, rtol=1e-12)
    np.testing.assert_allclose(
        mean, (cleaner.alpha * clean / cleaner.sigma**2 + ratio * x / added) / precision, rtol=1e-10
    )
    mean, std = process.posterior(x, clean, level, Level(-1.0, 1.0, 0.0))
    np.testing.assert_allclose(mean, clean, atol=1e-12)
    np.testing.assert_array_equal(np.broadcast_to(std, x.shape), 0)
    table = schedules.linear().table
    for start, end, published in ((420, 400, 0.14772), (980, 960, 0.32461)):
        np.testing.assert_allclose(
            np.square(process.posterior(x, clean, table[start], table[end])[1]), published, atol=5.1e-6
        )


def test_process_functions_run_under_jit_vmap_and_grad_and_keep_the_dtype():
    level = Level(jnp.zeros(3), jnp.array([0.9, 0.6, 0.0]), jnp.array([0.4, 0.8, 1.0]))
    clean, noise = jnp.asarray(rand(0, 3, 2), jnp.float32), jnp.asarray(rand(1, 3, 2), jnp.float32)
    plain = process.add_noise(clean, noise, level)
    assert process.add_noise(clean, noise, schedules.linear(10).table[3]).dtype == plain.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(process.add_noise)(clean, noise, level), plain, rtol=1e-6)
    rows = jax.vmap(lambda c, n, lv: process.add_noise(c[None], n[None], lv)[0])(clean, noise, level)
    np.testing.assert_allclose(rows, plain, rtol=1e-6)

    def total(level, cleaner):
        mean, std = process.posterior(noise, clean, level, cleaner)
        return mean.sum() + std.sum() + process.forward_step(clean, noise, cleaner, level).sum()

    slopes = jax.grad(total, argnums=(0, 1))(level, Level(jnp.zeros(3), jnp.ones(3), jnp.zeros(3)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes))


def test_the_chain_and_its_posterior_are_rounded_to_half_precision_once():
    table, half = schedules.linear().table, jnp.asarray(rand(0, 2, 3), jnp.bfloat16)
    wide, level, cleaner = half.astype(jnp.float32), table[401], table[400]
    for chain in (
        lambda x: process.forward_step(x, x, cleaner, level),
        lambda x: process.posterior(x, -x, level, cleaner)[0],
        lambda x: process.posterior(x, -x, level, cleaner)[1],
        lambda x: process.added_std(cleaner, level, x),
    ):
        np.testing.assert_array_equal(chain(half), chain(wide).astype(jnp.bfloat16))


# Parameterizations.


@pytest.mark.float64
@every_kind
@levels
def test_the_target_gives_back_clean_and_noise_and_any_output_explains_x(build, level):
    clean, noise, kind = rand(0, 2, 3, 4), rand(1, 2, 3, 4), build()
    x = level.alpha * clean + level.sigma * noise
    prediction = kind.predict(x, kind.target(clean, noise, level), level)
    np.testing.assert_allclose(prediction.clean, clean, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(prediction.noise, noise, rtol=1e-11, atol=1e-12)
    prediction = kind.predict(x, rand(2, 2, 3, 4), level)
    np.testing.assert_allclose(
        level.alpha * prediction.clean + level.sigma * prediction.noise, x, rtol=1e-10, atol=1e-12
    )


@pytest.mark.float64
@levels
def test_targets_are_those_of_their_papers_and_noise_score_and_velocity_are_views_of_each_other(level):
    clean, noise = rand(0, 2, 3), rand(1, 2, 3)
    a, s, d = level.alpha, level.sigma, 0.5
    velocity = a * noise - s * clean
    edm = (s * clean - a * d**2 * noise) / (d * np.sqrt(s**2 + a**2 * d**2))
    for name, target in {
        "noise": noise,
        "clean": clean,
        "velocity": velocity,
        "flow": noise - clean,
        "edm": edm,
    }.items():
        np.testing.assert_allclose(
            PARAMETERIZATIONS[name]().target(clean, noise, level), target, rtol=1e-12, atol=1e-14, err_msg=name
        )
    score = process.score_from_noise(noise, level)
    np.testing.assert_allclose(score, -noise / s, rtol=1e-13)
    np.testing.assert_allclose(process.noise_from_score(score, level), noise, rtol=1e-13)
    np.testing.assert_allclose(process.velocity_from(clean, noise, level), velocity, rtol=1e-12, atol=1e-14)


@pytest.mark.float64
@every_kind
def test_all_are_finite_at_the_clean_end_where_x_is_clean_and_all_but_noise_where_x_is_noise(build):
    x, output, kind = rand(0, 2, 3), rand(1, 2, 3), build()
    ends = [(Level(999.0, 0.0, 1.0), "noise")] * (not kind.divides_by_alpha) + [(Level(-1.0, 1.0, 0.0), "clean")]
    for level, exact in ends:
        prediction = kind.predict(x, output, level)
        assert np.all(np.isfinite([prediction.clean, prediction.noise, kind.target(x, output, level)]))
        np.testing.assert_allclose(getattr(prediction, exact), x, rtol=1e-13)


@every_kind
def test_gradients_are_finite_at_usable_levels_and_only_edm_scales_the_network_input(build):
    kind, x = build(), jnp.ones((2, 3))
    assert build is parameterization.edm or np.array_equal(kind.scale_in(x, Level(1.0, 0.6, 0.8)), x)

    def total(x, output, alpha, sigma):
        level = Level(1.0, alpha, sigma)
        prediction = kind.predict(x, output, level)
        return jnp.sum(prediction.clean**2) + jnp.sum(prediction.noise**2) + jnp.sum(kind.scale_in(x, level))

    pairs = [(0.6, 0.8), (1.0, 0.0)] + [(0.0, 1.0)] * (not kind.divides_by_alpha)
    for alpha, sigma in pairs:
        assert all(np.all(np.isfinite(slope)) for slope in jax.grad(total, argnums=(0, 1, 2, 3))(x, x, alpha, sigma)), (
            alpha,
            sigma,
        )


@every_kind
def test_a_grid_padded_at_its_clean_end_draws_the_same_with_a_fixed_count(build):
    denoise = from_network(lambda gain, x, t: jnp.tanh(gain * x), 0.7, build())
    draw = quickly(
        lambda levels: sampling.sample(jax.random.key(0), denoise, samplers.ddim(0.5), levels, (3,), jnp.arange(2))
    )
    levels = grids.trailing(schedules.linear(), 3)
    np.testing.assert_allclose(draw(grids.padded(levels, 6)), draw(levels), atol=1e-6)


@pytest.mark.float64
@every_kind
@levels
def test_gain_is_the_ratio_of_target_error_to_clean_error(build, level):
    """An error of the clean prediction at x fixed changes the noise by -alpha/sigma times it."""
    kind, clean, noise, error = build(), rand(0, 2, 3), rand(1, 2, 3), rand(2, 2, 3)
    moved = kind.target(clean + error, noise - level.alpha / level.sigma * error, level) - kind.target(
        clean, noise, level
    )
    np.testing.assert_allclose(kind.gain(level), np.sum(np.square(moved)) / np.sum(np.square(error)), rtol=1e-11)


@pytest.mark.float64
@pytest.mark.parametrize("sigma", [0.002, 0.5, 1.0, 80.0])
def test_edm_is_karras_preconditioning(sigma):
    """c_skip, c_out and c_in of Karras et al. (2022), Tab. 1, on their own process (alpha = 1)."""
    s = 0.5
    skip, out, scale = s**2 / (sigma**2 + s**2), sigma * s / np.sqrt(sigma**2 + s**2), 1 / np.sqrt(sigma**2 + s**2)
    x, output = sigma * rand(0, 2, 3), rand(1, 2, 3)
    level, kind = Level(np.log(sigma) / 4, 1.0, sigma), parameterization.edm(s)
    np.testing.assert_allclose(kind.predict(x, output, level).clean, skip * x + out * output, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(kind.scale_in(x, level), scale * x, rtol=1e-12)
    assert float(kind.gain(level)) == pytest.approx(1 / out**2, rel=1e-10)


@pytest.mark.float64
@levels
def test_edm_input_and_target_have_unit_variance(level):
    """Variances of linear maps of independent clean (std s) and noise (std 1), read off their coefficients."""
    s, kind = 0.7, parameterization.edm(0.7)
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    of_clean, of_noise = (float(kind.target(c, n, level)[0, 0]) for c, n in ((one, zero), (zero, one)))
    assert s**2 * of_clean**2 + of_noise**2 == pytest.approx(1, rel=1e-12)
    scale = float(kind.scale_in(one, level)[0, 0])
    assert scale**2 * (level.alpha**2 * s**2 + level.sigma**2) == pytest.approx(1, rel=1e-12)


@every_kind
def test_dtype_of_x_is_kept_and_levels_go_one_to_a_sample(build):
    kind = build()
    x, output = jnp.asarray(rand(0, 3, 2, 2), jnp.float32), jnp.asarray(rand(1, 3, 2, 2), jnp.float32)
    level = Level(jnp.zeros(3), jnp.array([0.9, 0.6, 0.1]), jnp.array([0.4, 0.8, 0.99]))
    full, rough = (
        kind.predict(x, output, level),
        kind.predict(x.astype(jnp.bfloat16), output.astype(jnp.bfloat16), level),
    )
    assert full.clean.dtype == full.noise.dtype == x.dtype and rough.clean.dtype == jnp.bfloat16
    for i in range(3):
        row = kind.predict(x[i : i + 1], output[i : i + 1], level[i])
        np.testing.assert_allclose((row.clean[0], row.noise[0]), (full.clean[i], full.noise[i]), rtol=1e-6)
