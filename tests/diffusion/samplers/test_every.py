"""What every sampler keeps: one compile for a grid of values, samples that do not know their neighbours, the dtype, equality of records."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from gendiff.diffusion.samplers.catalogue import METHODS
from tests.diffusion.samplers.every import EVERY

SCHEDULE = diffusion.schedules.flow()
LONGEST = 6
SHAPE = (3,)


def network(params, x, t, label):
    hint = 0.1 * label.astype(x.dtype) + 1e-3 * t.astype(x.dtype)
    return jnp.tanh(params["gain"].astype(x.dtype) * x + hint[:, None])


def grid(n):
    return diffusion.grids.padded(diffusion.grids.trailing(SCHEDULE, n), LONGEST)


@pytest.mark.parametrize("name", EVERY)
def test_one_compile_serves_steps_scales_seeds_and_parameters_and_a_sample_is_its_own(name):
    """DESIGN's jitted draw, for rebuilt samplers; the batch is drawn whole, in another order, and beside strangers."""
    traces = []

    @jax.jit
    def draw(sampler, params, key, index, label, scale, levels, num_steps):
        traces.append(None)
        given = diffusion.denoiser.from_network(network, params, diffusion.parameterization.flow(), label)
        guided = diffusion.guidance.classifier_free(given, given.with_condition(gd.NO_LABEL), scale, batched=True)
        return diffusion.sampling.sample(key, guided, sampler, levels, SHAPE, index, num_steps=num_steps)

    def run(steps=5, index=(0, 1, 2, 3), scale=1.5, gain=0.7, seed=0):
        index = np.asarray(index, np.int32)
        values = {"gain": np.float32(gain)}, jax.random.key(seed), index, index % 3, np.float32(scale), grid(steps), np.int32(steps)
        return np.asarray(draw(EVERY[name](SCHEDULE), *values))

    base = run()
    assert base.shape == (4, *SHAPE) and base.dtype == np.float32
    for other in (run(steps=1), run(steps=3), run(scale=0.0), run(gain=0.9), run(seed=1)):
        assert np.all(np.isfinite(other)) and not np.array_equal(other, base)
    np.testing.assert_allclose(run(index=(3, 1, 0, 2)), base[[3, 1, 0, 2]], atol=5e-6)
    np.testing.assert_allclose(run(index=(900, 2, 77, 2**31 - 1))[1], base[2], atol=5e-6)
    assert len(traces) == 1


@pytest.mark.parametrize("name", EVERY)
def test_float64_stays_float64_and_mapped_counts_give_each_its_own(name):
    with jax.enable_x64(True):
        levels = grid(3)

        @jax.jit
        @jax.vmap
        def draw(num_steps):
            given = diffusion.oracles.gaussian(0.5, 0.1)
            return diffusion.sampling.sample(
                jax.random.key(0), given, EVERY[name](SCHEDULE), levels, SHAPE, jnp.arange(2), num_steps=num_steps
            )

        both = draw(jnp.array([2, 3]))
        assert both.dtype == jnp.float64 and np.all(np.isfinite(both))
        assert not np.allclose(both[0], both[1])


def test_rebuilt_samplers_are_equal_hash_alike_and_differ_from_their_siblings():
    for build in EVERY.values():
        assert build(SCHEDULE) == build(SCHEDULE) and hash(build(SCHEDULE)) == hash(build(SCHEDULE))
    assert len({build(SCHEDULE) for build in EVERY.values()}) == len(EVERY)


def test_the_catalogue_holds_every_public_sampler_as_users_call_it():
    public = {name: value for name, value in vars(diffusion.samplers).items() if name in diffusion.samplers.__all__ and callable(value)}
    assert set(public) == {name.split()[0] for name in METHODS}
    for name, method in METHODS.items():
        sampler = method.make(SCHEDULE)
        assert method.name == name and sampler == eval(method.call, public | {"schedule": SCHEDULE})
        for n in (10, 50):
            assert sampler.evaluations(n) == eval(method.evaluations.replace("n", "*n").lstrip("*"), {"n": n})
        for field, (low, high) in method.numbers:
            assert dataclasses.replace(sampler, **{field: low}) != dataclasses.replace(sampler, **{field: high})
