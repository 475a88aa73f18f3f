"""RePaint: what is known comes back exactly, what is painted follows from it, and every sample keeps to its own keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.diffusion import inpainting
from gendiff.diffusion.types import Level

SHAPE = (2, 2, 1)
MASK = np.array([[1, 0], [0, 1]], bool)[:, :, None]
KNOWN = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype(np.float32)
ORACLE = diffusion.oracles.gaussian(0.5, 0.2)
SCHEDULES = {"cosine": diffusion.schedules.cosine(100), "straight": diffusion.schedules.flow(), "exploding": diffusion.schedules.edm()}
SAMPLERS = {
    "ddpm": diffusion.samplers.ddpm(),
    "ddim": diffusion.samplers.ddim(),
    "heun": diffusion.samplers.heun(),
    "corrected": diffusion.samplers.predictor_corrector(),
}


def entries(n, resamples, jump):
    """The entries of a grid of n intervals that are visited."""
    numbers = np.arange(n + 1.0)
    return np.asarray(inpainting.resampled(Level(numbers, numbers, numbers), resamples, jump).t).astype(int).tolist()


@jax.jit
def draw(sampler, levels, steps=None):
    options = {"num_steps": steps, "trajectory": True}
    return diffusion.sampling.sample(jax.random.key(3), ORACLE, sampler, levels, SHAPE, jnp.arange(5), **options)


def grid(schedule, n=6, resamples=3, jump=2):
    return inpainting.resampled(diffusion.grids.trailing(schedule, n), resamples, jump)


def test_resampled_grids_go_back_as_the_algorithm_does():
    assert entries(4, 1, 2) == entries(4, 3, 4) == [0, 1, 2, 3, 4]
    assert entries(4, 2, 1) == [0, 1, 0, 1, 2, 1, 2, 3, 2, 3, 4]
    assert entries(5, 2, 2) == [0, 1, 2, 0, 1, 2, 3, 4, 2, 3, 4, 5]
    assert entries(4, 3, 2) == [0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4]
    visited = np.array(entries(250, 10, 10))
    down = np.diff(visited) > 0
    assert visited[0] == 0 and visited[-1] == 250 and np.all(np.diff(visited)[down] == 1) and np.all(np.diff(visited)[~down] == -10)
    assert down.sum() == 250 + 24 * 9 * 10


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_what_is_not_masked_is_returned_exactly_and_the_rest_is_painted(sampler, schedule):
    found = draw(inpainting.repaint(sampler, KNOWN, MASK), grid(schedule))
    kept = np.broadcast_to(~MASK, KNOWN.shape)
    assert np.all(np.isfinite(found))
    np.testing.assert_array_equal(found[-1][kept], KNOWN[kept])
    assert np.all(np.abs(found[-1] - KNOWN)[~kept] > 1e-4)


def test_with_everything_masked_on_a_plain_grid_the_law_is_that_of_the_sampler():
    """Only the keys differ, and a deterministic sampler has none."""
    levels, ddim = diffusion.grids.trailing(SCHEDULES["cosine"], 6), diffusion.samplers.ddim()
    np.testing.assert_allclose(draw(inpainting.repaint(ddim, KNOWN, np.array(True)), levels), draw(ddim, levels), atol=1e-6)


def test_known_entries_and_steps_back_are_noised_as_the_forward_process_does():
    """Each state of one entry that is kept, after x_T, is N(alpha known, sigma²), and neighbours on the way down are independent."""
    known, count = np.full((1, 1), 1.5, np.float32), 4000
    levels = grid(diffusion.schedules.flow(), 4, 2, 2)
    sampler = inpainting.repaint(diffusion.samplers.ddpm(), jnp.broadcast_to(known, (count, 1)), np.array(False))
    states = jax.jit(
        lambda: diffusion.sampling.sample(jax.random.key(0), ORACLE, sampler, levels, (1,), jnp.arange(count), trajectory=True)
    )()
    states, back = np.asarray(states)[..., 0], np.flatnonzero(np.diff(levels.sigma) > 0)[0]
    for j in range(1, len(levels)):
        spread = 5 * levels.sigma[j] / np.sqrt(count)
        assert abs(states[j].mean() - 1.5 * levels.alpha[j]) <= spread + 1e-6, j
        assert abs(states[j].std() - levels.sigma[j]) <= spread, j
    ratio = levels.alpha[back + 1] / levels.alpha[back]
    kept = np.corrcoef(states[back], states[back + 1])[0, 1]
    assert abs(kept - ratio * levels.sigma[back] / levels.sigma[back + 1]) < 0.08
    assert abs(np.corrcoef(states[back - 1], states[back])[0, 1]) < 0.08


def test_resampling_brings_what_is_painted_to_the_posterior():
    """Of two entries correlated by 0.9, the second given the first: N(0.9 first, 0.19)."""
    oracle, count = diffusion.oracles.correlated(np.zeros(2), [[1.0, 0.9], [0.9, 1.0]]), 2000
    known = jnp.broadcast_to(jnp.array([1.0, 0.0]), (count, 2))
    sampler = inpainting.repaint(diffusion.samplers.ddpm(), known, np.array([False, True]))
    levels = diffusion.grids.trailing(diffusion.schedules.cosine(200), 40)

    @jax.jit
    def painted(levels):
        return diffusion.sampling.sample(jax.random.key(1), oracle, sampler, levels, (2,), jnp.arange(count))[:, 1]

    plain, often = painted(levels), painted(inpainting.resampled(levels, 10, 4))
    assert abs(often.mean() - 0.9) < 0.07 and abs(plain.mean() - 0.9) > 2 * abs(often.mean() - 0.9), (plain.mean(), often.mean())
    assert abs(often.std() - np.sqrt(0.19)) < 0.08, (plain.std(), often.std())


def test_a_painting_is_its_own_in_batches_and_one_compile_serves_all_values():
    masks, order = np.random.default_rng(2).random((5, *SHAPE)) < 0.5, np.array([2, 0, 4, 1, 3])

    @jax.jit
    def run(known, mask, index, levels, steps, mean):
        sampler, oracle = inpainting.repaint(diffusion.samplers.ddpm(), known, mask), diffusion.oracles.gaussian(0.5, mean)
        return diffusion.sampling.sample(jax.random.key(3), oracle, sampler, levels, SHAPE, index, num_steps=steps)

    flow = diffusion.grids.padded(grid(SCHEDULES["straight"]), 20), 18
    cosine = diffusion.grids.padded(grid(SCHEDULES["cosine"], 5, 2, 2), 20), 11
    base = run(KNOWN, masks, np.arange(5), *flow, 0.2)
    np.testing.assert_array_equal(base[~masks], KNOWN[~masks])
    np.testing.assert_allclose(run(KNOWN[order], masks[order], order, *flow, 0.2), base[order], atol=5e-6)
    strangers = KNOWN[order] * (order == 4)[:, None, None, None], masks[order], np.where(order == 4, 4, order + 900)
    np.testing.assert_allclose(run(*strangers, *flow, 0.2)[2], base[4], atol=5e-6)
    for other in (run(KNOWN, masks, np.arange(5), *flow, 0.9), run(KNOWN, masks, np.arange(5), *cosine, 0.2)):
        assert np.all(np.isfinite(other)) and not np.allclose(other, base)
    assert run._cache_size() == 1


def test_gradients_are_finite_on_every_path_and_under_vmap_and_float64_stays():
    def total(known, levels):
        sampler = inpainting.repaint(diffusion.samplers.ddpm(), known, MASK)
        return jnp.sum(diffusion.sampling.sample(jax.random.key(3), ORACLE, sampler, levels, SHAPE, jnp.arange(5)) ** 2)

    grids = [grid(schedule, 3, 2, 1) for schedule in SCHEDULES.values()]
    stacked = jax.tree.map(lambda *fields: jnp.stack(fields), *grids)
    both = jax.jit(jax.vmap(jax.grad(total, argnums=(0, 1)), in_axes=(None, 0)))(KNOWN, stacked)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(both))
    alone = jax.jit(jax.grad(total, argnums=(0, 1)))(KNOWN, grids[1])
    for one, row in zip(jax.tree.leaves(alone), jax.tree.leaves(both), strict=True):
        np.testing.assert_allclose(one, row[1], rtol=1e-4, atol=1e-4)
    with jax.enable_x64(True):
        levels = jax.tree.map(lambda field: jnp.asarray(field, jnp.float64), grids[1])
        wide = draw(inpainting.repaint(diffusion.samplers.ddpm(), KNOWN, MASK), levels)
        assert wide.dtype == jnp.float64
        np.testing.assert_array_equal(wide[-1][:, 0, 1], KNOWN[:, 0, 1].astype(np.float64))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "error", "named"),
    [
        (lambda ddpm: inpainting.repaint(diffusion.samplers.dpm_solver_multistep(), KNOWN, MASK), ValueError, "memory"),
        (lambda ddpm: inpainting.repaint(ddpm, KNOWN, np.ones((3, 2, 1))), ValueError, "does not broadcast"),
        (lambda ddpm: inpainting.repaint(ddpm, KNOWN[:1], np.ones((5, *SHAPE))), ValueError, "does not broadcast"),
        (lambda ddpm: inpainting.repaint(ddpm, KNOWN, np.full(SHAPE, 255.0)), ValueError, "mask"),
        (lambda ddpm: inpainting.repaint(ddpm, np.ones((5, *SHAPE), np.uint8), MASK), TypeError, "known"),
        (
            lambda ddpm: draw(inpainting.repaint(ddpm, KNOWN[:2], MASK), grid(SCHEDULES["straight"])),
            ValueError,
            "one known sample for each",
        ),
        (lambda ddpm: grid(SCHEDULES["straight"], 3, 0, 1), ValueError, "outside"),
        (lambda ddpm: grid(SCHEDULES["straight"], 3, 1, 0), ValueError, "outside"),
    ],
)
def test_what_cannot_be_is_refused(mistake, error, named):
    with pytest.raises(error, match=named):
        mistake(diffusion.samplers.ddpm())
