"""What every member of a family keeps: jit, vmap, dtype, one step, any rank of x, finite values and gradients, equality of rebuilt records.

One factor varies at a time from a base case, plus sampler × parameterization. A new member is one line in a table here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from tests.diffusion.families import GRIDS, LEVELS, PARAMETERIZATIONS, SCHEDULES, WEIGHTS, every

FAMILIES = {"schedules": SCHEDULES, "parameterizations": PARAMETERIZATIONS, "weights": WEIGHTS, "level samplers": LEVELS}
SAMPLERS = {
    "ddpm": diffusion.samplers.ddpm,
    "ddpm large": lambda: diffusion.samplers.ddpm("large"),
    "ddim": diffusion.samplers.ddim,
    "ddim stochastic": lambda: diffusion.samplers.ddim(0.7),
    "euler": diffusion.samplers.euler,
}
SHAPES = {"vector": (4,), "sequence": (3, 2), "image": (4, 4, 1), "volume": (2, 2, 2, 1)}
ORACLES = {
    "gaussian": lambda: diffusion.oracles.gaussian(0.5, 0.1),
    "mixture": lambda: diffusion.oracles.mixture([0.4, 0.6], np.stack([np.ones(SHAPES["image"]), -np.ones(SHAPES["image"])]), [0.3, 0.5]),
}


def network(params, x, t, label):
    shape = (-1,) + (1,) * (x.ndim - 1)
    hint = params["label"] * label.astype(x.dtype).reshape(shape) + 1e-3 * t.astype(x.dtype).reshape(shape)
    return jnp.tanh(params["gain"] * x + hint)


def weights(dtype=jnp.float32):
    return {"gain": jnp.asarray(0.7, dtype), "label": jnp.asarray(0.1, dtype)}


def denoiser(kind, params, label, scale=None, batched=False):
    given = diffusion.denoiser.from_network(network, params, kind, label)
    return given if scale is None else diffusion.guidance.classifier_free(given, given.with_condition(gd.NO_LABEL), scale, batched=batched)


def draw(sampler, denoise, levels, shape=SHAPES["image"], count=2, seed=0, **options):
    return diffusion.sampling.sample(jax.random.key(seed), denoise, sampler, levels, shape, jnp.arange(count), **options)


def all_finite(tree):
    return all(np.all(np.isfinite(np.asarray(leaf, np.float64))) for leaf in jax.tree.leaves(tree))


def usable(kind, schedule):
    """Noise prediction is refused where no signal is left (gd.objectives.diffusion)."""
    return not (kind == diffusion.parameterization.noise() and schedule.noisiest.alpha == 0)


# Sampler × parameterization: each step of a grid by itself, on every schedule, the only step and the last one included.


@every("sampler", SAMPLERS)
@every("kind", PARAMETERIZATIONS)
def test_steps_and_their_gradients_are_finite_on_every_schedule_and_end_at_the_prediction(sampler, kind):
    def total(params, start, levels):
        denoise = denoiser(kind(), params, 1)
        x = draw(sampler(), denoise, levels, (2,), count=1, start=start)
        return jnp.sum(x**2), (x, denoise(start, levels[0]).clean)

    run = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))
    for name, schedule in SCHEDULES.items():
        if usable(kind(), schedule()):
            only, three = diffusion.grids.trailing(schedule(), 1), diffusion.grids.trailing(schedule(), 3)
            for pair in (only, three[:2], three[1:3], three[2:]):
                slopes, (x, prediction) = run(weights(), jnp.maximum(pair.sigma[0], 0.1) * jnp.array([[1.0, -0.5]]), pair)
                assert all_finite(x) and all_finite(slopes), name
                if pair.sigma[1] == 0:
                    scale = np.maximum(1.0, np.abs(prediction).max())
                    np.testing.assert_allclose(x / scale, prediction / scale, atol=2e-6, err_msg=name)


# Samplers.

VELOCITY = diffusion.parameterization.velocity()
GRID = diffusion.grids.trailing(diffusion.schedules.cosine(), 3)


@every("shape", SHAPES)
def test_sampling_takes_x_of_any_rank(shape):
    x = draw(diffusion.samplers.ddpm(), denoiser(VELOCITY, weights(), jnp.array([1, 2])), GRID, shape)
    assert x.shape == (2, *shape) and x.dtype == jnp.float32 and all_finite(x)


@every("sampler", SAMPLERS)
def test_jit_changes_no_sampler(sampler):
    denoise = denoiser(VELOCITY, weights(), jnp.array([1, 2]))
    np.testing.assert_allclose(jax.jit(draw)(sampler(), denoise, GRID), draw(sampler(), denoise, GRID), atol=5e-6)


@every("sampler", SAMPLERS)
def test_samplers_keep_the_dtype(sampler):
    with jax.enable_x64(True):
        grid = diffusion.grids.trailing(diffusion.schedules.cosine(), 3)
        double = draw(sampler(), denoiser(VELOCITY, weights(jnp.float64), 1), grid)
        assert double.dtype == jnp.float64 and all_finite(double)
        start = jnp.ones((2, *SHAPES["image"]), jnp.float32)
        assert draw(sampler(), denoiser(VELOCITY, weights(), 1), grid, start=start).dtype == jnp.float32


@every("sampler", SAMPLERS)
def test_samplers_are_mapped_over_seeds_parameters_and_step_counts(sampler):
    def run(seed, gain, steps):
        return draw(sampler(), denoiser(VELOCITY, weights() | {"gain": gain}, 1), GRID, (2,), seed=seed, num_steps=steps)

    seeds, gains, steps = jnp.arange(3), jnp.array([0.5, 0.7, 0.9]), jnp.array([3, 1, 2])
    mapped = jax.vmap(run)(seeds, gains, steps)
    compiled = jax.jit(run)
    for i in range(3):
        np.testing.assert_allclose(mapped[i], compiled(seeds[i], gains[i], steps[i]), atol=5e-6)


@every("sampler", SAMPLERS)
def test_samplers_state_their_evaluations(sampler):
    assert [sampler().evaluations(n) for n in (1, 2, 50)] == [1, 2, 50]


@every("batched", {"two passes": False, "one pass": True})
@pytest.mark.parametrize("sampler", [diffusion.samplers.euler, diffusion.samplers.ddpm], ids=["euler", "ddpm"])
def test_guidance_at_scale_one_is_no_guidance_under_a_sampler(sampler, batched):
    label = jnp.array([0, 3])
    guided, plain = (draw(sampler(), denoiser(VELOCITY, weights(), label, *how), GRID) for how in ((1.0, batched), ()))
    np.testing.assert_allclose(guided, plain, atol=5e-6)


@every("oracle", ORACLES)
def test_oracles_work_under_a_sampler(oracle):
    assert all_finite(draw(diffusion.samplers.ddpm(), oracle(), GRID))


# Records.


@every("family", FAMILIES | {"samplers": SAMPLERS})
def test_rebuilt_records_are_equal_hash_alike_differ_from_their_siblings_and_do_not_retrace(family):
    traces = []

    @jax.jit
    def run(member):
        traces.append(None)
        return 0.0

    for build in family.values():
        assert build() == build() and hash(build()) == hash(build())
        run(build()), run(build())
    assert len({build() for build in family.values()}) == len(family)
    assert len(traces) == len({jax.tree.structure(build()) for build in family.values()})


@every("sampler", SAMPLERS)
def test_rebuilt_samplers_and_denoisers_do_not_retrace(sampler):
    traces = []

    @jax.jit
    def run(sampler, denoise, levels):
        traces.append(None)
        return draw(sampler, denoise, levels)

    for gain in (0.5, 0.9):
        params = weights() | {"gain": jnp.float32(gain)}
        run(sampler(), denoiser(diffusion.parameterization.velocity(), params, jnp.array([1, 2]), 2.0, True), GRID)
    assert len(traces) == 1


def test_every_public_member_of_a_family_is_in_its_table():
    """A new member that is missing there is not tested."""
    listed = {
        diffusion.schedules: {*SCHEDULES, "max_noise_ratio", "variance_preserving"},
        diffusion.grids: {*GRIDS, "padded", "remaining"},
        diffusion.parameterization: {*PARAMETERIZATIONS},
        diffusion.weighting: {*WEIGHTS, *LEVELS},
    }
    for module, names in listed.items():
        public = {name for name, value in vars(module).items() if _is_function_of(value, module) and not name.startswith("_")}
        assert public <= names, f"{module.__name__}: {public - names}"


def _is_function_of(value, module):
    return callable(value) and not isinstance(value, type) and getattr(value, "__module__", "") == module.__name__
