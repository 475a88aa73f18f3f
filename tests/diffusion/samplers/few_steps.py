"""What every sampler keeps at few steps: finite values and gradients, the prediction at the end, DDIM without signal, its evaluations."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.diffusion import denoiser, grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.types import Level

ZERO_SNR = schedules.zero_terminal_snr(schedules.scaled_linear())
SCHEDULES = {
    "linear": schedules.linear(),
    "cosine": schedules.cosine(),
    "zero terminal SNR": ZERO_SNR,
    "edm": schedules.edm(),
    "flow": schedules.flow(),
    "shifted": schedules.shifted(schedules.flow(), 3.0),
}


def _network(gain, x, t):
    return jnp.tanh(gain * x + 1e-3 * t.astype(x.dtype)[:, None])


def _denoiser(gain=0.7):
    return denoiser.from_network(_network, jnp.asarray(gain, jnp.float32), parameterization.velocity())


def check_finite(sampler, deterministic=True):
    """At one to three steps: finite values and gradients with respect to parameters, start and levels, the denoised prediction at a clean
    end, and DDIM from alpha = 0. Grids are filled up to three steps by steps that stay at the clean end, so that one compile serves all."""

    def total(gain, start, grid):
        denoise = _denoiser(gain)
        states = sampling.sample(jax.random.key(0), denoise, sampler, grid, (2,), jnp.arange(2), start=start, trajectory=True)
        told = [denoise(states[j], grid[j]) for j in range(3)]
        return jnp.sum(states[-1] ** 2), (
            states,
            jnp.stack([t.clean for t in told]),
            grid.alpha[1] * told[0].clean + grid.sigma[1] * told[0].noise,
        )

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
    start = np.array([[1.0, -0.5], [0.3, 2.0]], np.float32)
    for name, schedule in SCHEDULES.items():
        for steps in (1, 2, 3):
            grid = grids.padded(grids.trailing(schedule, steps), 3)
            (_, (states, clean, ddim)), slopes = slope(0.7, np.maximum(grid.sigma[0], 0.1) * start, grid)
            states, clean = np.asarray(states), np.asarray(clean)
            assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((states, slopes))), (name, steps)
            scale = max(1.0, np.abs(clean[steps - 1]).max())
            np.testing.assert_allclose(states[steps] / scale, clean[steps - 1] / scale, atol=3e-6, err_msg=f"{name} {steps}")
            if deterministic and grid.alpha[0] == 0:
                np.testing.assert_allclose(states[1], ddim, atol=1e-6, err_msg=f"{name} {steps}")


def check_point_mass(sampler):
    """A constant clean prediction: any number of steps is exact, on any schedule, for deterministic samplers. Run it in float64."""
    point, start = oracles.gaussian(0.0, 0.8), jnp.array([[1.0, -0.5], [0.3, 2.0]])

    @jax.jit
    def run(sampler, grid):
        return sampling.sample(jax.random.key(0), point, sampler, grid, (2,), jnp.arange(2), start=start, trajectory=True)

    for name, schedule in SCHEDULES.items():
        grid = grids.trailing(schedule, 5)
        noise = (start - grid.alpha[0] * 0.8) / grid.sigma[0]
        exact = grid.alpha[:, None, None] * 0.8 + grid.sigma[:, None, None] * noise[None]
        np.testing.assert_allclose(run(sampler, grid), exact, rtol=1e-9, atol=1e-9, err_msg=name)


def evaluations(sampler, grid, traced=False):
    """How often the network runs."""
    calls = []

    def denoise(x, level):
        jax.debug.callback(lambda: calls.append(None))
        return oracles.gaussian(0.5)(x, level)

    def run(steps):
        return sampling.sample(jax.random.key(0), denoise, sampler, grid, (2,), jnp.arange(2), num_steps=steps)

    steps = len(grid) - 1
    jax.block_until_ready(jax.jit(run)(steps) if traced else jax.jit(lambda: run(steps))())
    jax.effects_barrier()
    return len(calls)


def check_levels_of_their_own(sampler):
    """Levels (b,): each sample is at its own and stays apart from its neighbours, one of them without signal, one at its end."""
    before = Level(*(jnp.array(v) for v in ([900.0, 999.0, 300.0], [0.3, 0.0, 0.8], [0.9, 1.0, 0.6])))
    after = Level(*(jnp.array(v) for v in ([600.0, 700.0, -1.0], [0.5, 0.4, 1.0], [0.8, 0.9, 0.0])))
    last = Level(*(jnp.array(v) for v in ([300.0, 300.0, -1.0], [0.8, 0.8, 1.0], [0.6, 0.6, 0.0])))
    given = _denoiser()
    x, keys = jnp.array([[1.0, -0.5], [0.3, 2.0], [0.7, 0.1]]), jax.random.split(jax.random.key(0), 3)

    @jax.jit
    def two(x, keys, *levels):
        state = sampler.init(x)
        for left, (level, cleaner) in enumerate(zip(levels, levels[1:], strict=False)):
            noise = sampler.noise_for_step(keys, left, level, cleaner)
            state = sampler.step(noise, given, state, level, cleaner, 1 - left)
        return state.x

    together = two(x, keys, before, after, last)
    for i in range(2):
        alone = two(x[i : i + 1], keys[i : i + 1], before[i], after[i], last[i])
        np.testing.assert_allclose(together[i : i + 1], alone, atol=5e-6)
    ended = two(x[2:], keys[2:], before[2], after[2])
    np.testing.assert_allclose(two(x, keys, before, after)[2:], ended, atol=5e-6)
