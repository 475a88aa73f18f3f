"""Editing: an edit is plain sampling from further on, and the circle between two noises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.diffusion import editing

SHAPE = (2, 3)
ORACLE = diffusion.oracles.mixture([0.3, 0.7], np.random.default_rng(0).normal(size=(2, *SHAPE)), [0.3, 0.6])
FLOW, COSINE = diffusion.schedules.flow(), diffusion.schedules.cosine(100)
STEPS, LONGEST = 6, 8
CLEAN = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype(np.float32)


def grid(schedule=COSINE, n=STEPS):
    return diffusion.grids.padded(diffusion.grids.trailing(schedule, n), LONGEST)


GRID = grid()


KEY = jax.random.key(3)


@jax.jit
def edited(sampler, clean, index, strength, levels=GRID, steps=STEPS):
    options = {"strength": strength, "num_steps": steps, "trajectory": True}
    return editing.image_to_image(KEY, ORACLE, sampler, levels, clean, index, **options)


@jax.jit
def sampled(sampler, index, levels=GRID, steps=STEPS, start=None):
    options = {"num_steps": steps, "start": start, "trajectory": True}
    return diffusion.sampling.sample(KEY, ORACLE, sampler, levels, SHAPE, index, **options)


every_path = pytest.mark.parametrize("schedule", [COSINE, FLOW, diffusion.schedules.edm()], ids=["cosine", "straight", "exploding"])

# Images to images.


@every_path
@pytest.mark.parametrize("sampler", [diffusion.samplers.ddpm(), diffusion.samplers.dpm_solver_multistep()], ids=["ddpm", "multistep"])
def test_strength_one_is_plain_sampling_and_zero_the_image(schedule, sampler):
    index = jnp.arange(5)
    np.testing.assert_array_equal(edited(sampler, CLEAN, index, 1.0, grid(schedule)), sampled(sampler, index, grid(schedule)))
    noisy = jax.tree.map(lambda field: field[: STEPS + 1], diffusion.grids.padded(diffusion.grids.trailing(schedule, LONGEST), LONGEST))
    for end in (grid(schedule), diffusion.grids.padded(noisy, LONGEST)):
        np.testing.assert_array_equal(edited(sampler, CLEAN, index, 0.0, end), np.broadcast_to(CLEAN, (LONGEST + 1, *CLEAN.shape)))


def test_an_edit_is_sampling_of_the_rest_of_the_grid_from_the_image_noised_by_the_noise_of_x_T():
    levels, index = grid(), np.array([4, 900])
    noise = [jax.random.normal(jax.random.fold_in(jax.random.fold_in(jax.random.key(3), i), 0), SHAPE) for i in index]
    start = diffusion.process.add_noise(CLEAN[:2], jnp.stack(noise), levels[2])
    expected = sampled(diffusion.samplers.ddpm(), index, diffusion.grids.padded(levels[2:], LONGEST), STEPS - 2, start)
    found = edited(diffusion.samplers.ddpm(), CLEAN[:2], index, 4 / STEPS)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found[4:], np.broadcast_to(found[4], (5, 2, *SHAPE)))


def test_an_edit_without_a_jit_or_a_trajectory_is_the_same():
    whole, options = edited(diffusion.samplers.ddpm(), CLEAN, jnp.arange(5), 0.5), {"strength": 0.5, "num_steps": STEPS}
    found = editing.image_to_image(KEY, ORACLE, diffusion.samplers.ddpm(), grid(), CLEAN, np.arange(5), **options)
    np.testing.assert_allclose(found, whole[-1], atol=5e-6)


def test_an_edit_is_its_own_and_strengths_levels_steps_and_images_are_data():
    order = np.array([2, 0, 4, 1, 3])

    def run(clean, index, strength=0.5, levels=GRID, steps=STEPS):
        return edited(diffusion.samplers.ddpm(), clean, index, strength, levels, steps)

    base, compiled = run(CLEAN, np.arange(5)), edited._cache_size()
    np.testing.assert_allclose(run(CLEAN[order], order), base[:, order], atol=5e-6)
    strangers = np.where(order[:, None, None] == 4, CLEAN[order], 9.0).astype(np.float32)
    np.testing.assert_allclose(run(strangers, order + 900 * (order != 4))[:, 2], base[:, 4], atol=5e-6)
    for other in (run(CLEAN, np.arange(5), 0.9), run(CLEAN, np.arange(5), 0.5, grid(FLOW, 4), 4)):
        assert np.all(np.isfinite(other)) and not np.allclose(other, base)
    assert edited._cache_size() == compiled


def test_first_entries_are_rounded_halves_up_and_alike_under_a_trace():
    levels = diffusion.grids.trailing(COSINE, 10)
    expected = {0.0: 10, 0.04: 10, 0.05: 9, 0.15: 8, 0.35: 6, 0.349: 7, 0.65: 3, 0.949: 1, 0.95: 0, 1.0: 0}
    traced = jax.jit(lambda strength: editing.first_entry(levels, strength))
    for strength, first in expected.items():
        assert editing.first_entry(levels, strength) == first == traced(strength), strength
    assert editing.first_entry(levels, 0.5, num_steps=4) == 2
    long = diffusion.grids.trailing(diffusion.schedules.cosine(), 1000)
    counts = jax.jit(jax.vmap(lambda strength: editing.first_entry(long, strength)))(np.linspace(0, 1, 2001, dtype=np.float32))
    np.testing.assert_array_equal(counts, 1000 - (np.arange(2001) + 1) // 2)


def test_a_fixed_strength_is_differentiable_and_float64_stays():
    def total(clean, levels):
        options = {"strength": 0.5, "num_steps": STEPS}
        ends = editing.image_to_image(jax.random.key(0), ORACLE, diffusion.samplers.ddim(), levels, clean, np.arange(5), **options)
        return jnp.sum(ends**2)

    for schedule in (COSINE, FLOW):
        slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(CLEAN, grid(schedule))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes)) and np.any(slopes[0] != 0)
    with jax.enable_x64(True):
        assert edited(diffusion.samplers.ddim(), CLEAN.astype(np.float64), np.arange(5), 0.5).dtype == jnp.float64
        assert edited(diffusion.samplers.ddim(), CLEAN, np.arange(5), 0.5).dtype == jnp.float32


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changed", "error", "named"),
    [
        ({"strength": -0.1}, ValueError, "strength"),
        ({"strength": 1.1}, ValueError, "strength"),
        ({"strength": float("nan")}, ValueError, "strength"),
        ({"first": 7, "num_steps": 6}, ValueError, "first = 7"),
        ({"index": np.arange(3)}, ValueError, "index names 3"),
        ({"clean": np.ones((5, *SHAPE), np.uint8)}, TypeError, "clean"),
        ({"clean": np.full((5, *SHAPE), 255.0)}, ValueError, "pixels"),
        ({"key": jax.random.PRNGKey(0)}, TypeError, "key"),
        ({"index": np.arange(5) - 1}, ValueError, "index"),
    ],
)
def test_edits_that_cannot_be_are_refused(changed, error, named):
    options = {"key": jax.random.key(0), "clean": CLEAN, "index": np.arange(5)} | changed
    with pytest.raises(error, match=named):
        if "strength" in changed:
            editing.image_to_image(denoise=ORACLE, sampler=diffusion.samplers.ddim(), levels=grid(), **options)
        editing.from_entry(denoise=ORACLE, sampler=diffusion.samplers.ddim(), levels=grid(), **{"first": 2} | options)


# The circle between two noises.

slerp = jax.jit(editing.slerp)


@pytest.mark.float64
def test_slerp_turns_at_an_even_pace_and_its_norm_runs_linearly():
    turn = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    angle = np.array([0.3, 2.5, 3.0])
    first = jnp.asarray(turn)
    second = 3 * jnp.stack([np.cos(a) * row + np.sin(a) * np.linalg.norm(row) * np.eye(3)[2] for a, row in zip(angle, turn, strict=True)])
    for share in (0.25, np.array([0.1, 0.5, 0.9])):
        found = slerp(first, second, share)
        size = np.linalg.norm(turn, axis=1)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), size * (1 + 2 * share), rtol=1e-12)
        turned = np.sum(found * turn, axis=1) / size / np.linalg.norm(found, axis=1)
        np.testing.assert_allclose(np.arccos(turned), share * angle, rtol=1e-9)


def test_slerp_ends_are_exact_and_samples_their_own():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 4, 4, 1)).astype(np.float32)
    b[1] *= 30.0
    np.testing.assert_array_equal(slerp(a, b, 0.0), a)
    np.testing.assert_array_equal(slerp(a, b, 1.0), b)
    shares = np.linspace(0, 1, 5, dtype=np.float32)
    whole = slerp(a, b, shares)
    for i in range(5):
        np.testing.assert_array_equal(slerp(a[i : i + 1], b[i : i + 1], shares[i : i + 1])[0], whole[i])
    np.testing.assert_allclose(slerp(b, a, 1 - shares), whole, atol=1e-5)
    norms = [np.linalg.norm(np.reshape(v, (5, -1)), axis=1) for v in (a, b, whole)]
    np.testing.assert_allclose(norms[2], (1 - shares) * norms[0] + shares * norms[1], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_slerp_is_finite_for_parallel_opposite_and_zero_vectors(dtype):
    a = np.array([[1.0, -2.0], [1.0, -2.0], [1.0, -2.0], [0.0, 0.0], [0.0, 0.0], [1.0, -2.0], [1.0, 0.0], [1.0, 0.0]])
    b = np.array([[1.0, -2.0], [3.0, -6.0], [-1.0, 2.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1e-4], [-1.0, 1e-3]])
    a, b = jnp.asarray(a, dtype), jnp.asarray(b, dtype)
    both = jax.jit(jax.value_and_grad(lambda *values: jnp.sum(editing.slerp(*values).astype(jnp.float32) ** 2), argnums=(0, 1, 2)))
    for share in (0.0, 0.3, 1.0):
        found, (value, slopes) = slerp(a, b, jnp.float32(share)), both(a, b, jnp.float32(share))
        assert found.dtype == dtype and np.isfinite(value)
        assert all(np.all(np.isfinite(slope.astype(jnp.float32))) for slope in slopes)
        straight = (1 - share) * a.astype(jnp.float32) + share * b.astype(jnp.float32)
        np.testing.assert_allclose(found.astype(jnp.float32)[:7], straight[:7], atol=1e-6 if dtype == jnp.float32 else 0.05)


@pytest.mark.usefixtures("unchecked")
def test_slerp_refuses_other_shapes():
    with pytest.raises(ValueError, match="first"):
        editing.slerp(jnp.ones((2, 3)), jnp.ones((2, 1)), 0.5)


# Between images.


CENTRES = np.array([[1.0, -1.0], [-1.0, 1.0]])


@jax.jit
def between(first, second, share, levels, steps):
    oracle = diffusion.oracles.mixture([0.5, 0.5], CENTRES, [0.3, 0.3])
    return editing.between_images(oracle, first, second, share, levels, num_steps=steps, trajectory=True)


@every_path
def test_between_images_is_finite_and_has_a_trajectory_on_every_path(schedule):
    shares = np.array([0.0, 1.0, 0.5], np.float32)
    found = between(CENTRES[[0, 0, 1]].astype(np.float32), CENTRES[[0, 1, 0]].astype(np.float32), shares, grid(schedule), STEPS)
    assert found.shape == (LONGEST + 1, 3, 2) and np.all(np.isfinite(found))
    np.testing.assert_array_equal(found[-1], found[STEPS])


@pytest.mark.float64
@pytest.mark.parametrize("steps", [4, 20])
def test_between_images_returns_the_images_at_its_ends_in_few_steps(steps):
    images = np.array([[1.2, -0.9], [0.8, -1.1], [1.2, -0.9]]), np.array([[-0.9, 0.7], [1.1, -0.6], [-0.9, 0.7]])
    levels = diffusion.grids.padded(diffusion.grids.trailing(COSINE, steps), 20)
    ends = between(*images, np.array([0.0, 1.0, 1.0]), levels, steps)[-1]
    np.testing.assert_allclose(ends, [images[0][0], images[1][1], images[1][2]], atol=1e-8)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_between_images_is_finite_in_a_single_step_from_no_signal_as_documented(share):
    """From alpha = 0 to sigma = 0 nothing of the start is kept."""
    levels = diffusion.grids.padded(diffusion.grids.trailing(FLOW, 1), LONGEST)
    first, second = CENTRES[[0, 0, 1]].astype(np.float32), CENTRES[[0, 1, 0]].astype(np.float32)
    assert np.all(np.isfinite(between(first, second, np.full(3, share, np.float32), levels, 1)))


@pytest.mark.usefixtures("unchecked")
def test_between_images_in_one_step_that_keeps_nothing_is_refused():
    with pytest.raises(ValueError, match="use 2 steps or more"):
        editing.between_images(ORACLE, CLEAN[:2], CLEAN[2:4], 0.5, diffusion.grids.trailing(FLOW, 1))
