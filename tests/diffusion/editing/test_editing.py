"""Editing is sampling from further on, noises are joined by a circle, and RePaint returns what is known and paints what
follows from it.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.diffusion import editing, grids, inpainting
from gendiff.diffusion.types import Level
from tests.diffusion.flows import finite
from tests.quickly import in_numpy, quickly
from tests.refusals import refusals
from tests.tables import table
from tests.traced import Traced

SHAPE = (2, 3)
ORACLE = diffusion.oracles.mixture([0.3, 0.7], np.random.default_rng(0).normal(size=(2, *SHAPE)), [0.3, 0.6])
FLOW, COSINE = diffusion.schedules.flow(), diffusion.schedules.cosine(100)
STEPS, LONGEST = 6, 8
CLEAN = np.random.default_rng(1).normal(size=(5, *SHAPE)).astype(np.float32)
DDPM, DDIM, KEY, FIVE = diffusion.samplers.ddpm(), diffusion.samplers.ddim(), jax.random.key(3), np.arange(5)


def grid(schedule=COSINE, n=STEPS):
    return diffusion.grids.padded(diffusion.grids.trailing(schedule, n), LONGEST)


GRID = grid()


@Traced
def edited(sampler, clean, index, strength, levels=GRID, steps=STEPS):
    options = {"strength": strength, "num_steps": steps, "trajectory": True}
    return editing.image_to_image(KEY, ORACLE, sampler, levels, clean, index, **options)


@jax.jit
def sampled(sampler, index, levels=GRID, steps=STEPS, start=None):
    options = {"num_steps": steps, "start": start, "trajectory": True}
    return diffusion.sampling.sample(KEY, ORACLE, sampler, levels, SHAPE, index, **options)


PATHS = {"cosine": COSINE, "straight": FLOW, "exploding": diffusion.schedules.edm()}

# Images to images.


@pytest.mark.parametrize("sampler", [DDPM, diffusion.samplers.dpm_solver_multistep()], ids=["ddpm", "multistep"])
@table("path", PATHS)
def test_strength_one_is_plain_sampling_and_zero_the_image(path, sampler):
    levels = grid(PATHS[path])
    np.testing.assert_array_equal(edited(sampler, CLEAN, FIVE, 1.0, levels), sampled(sampler, FIVE, levels))
    noisy = jax.tree.map(lambda field: field[: STEPS + 1], diffusion.grids.trailing(PATHS[path], LONGEST))
    for end in (levels, diffusion.grids.padded(noisy, LONGEST)):
        np.testing.assert_array_equal(
            edited(sampler, CLEAN, FIVE, 0.0, end), np.broadcast_to(CLEAN, (LONGEST + 1, *CLEAN.shape))
        )


def test_an_edit_is_sampling_of_the_rest_of_the_grid_from_the_image_noised_by_the_noise_of_x_T():
    levels, index = grid(), np.array([4, 900])
    noise = [jax.random.normal(jax.random.fold_in(jax.random.fold_in(KEY, i), 0), SHAPE) for i in index]
    start = diffusion.process.add_noise(CLEAN[:2], jnp.stack(noise), levels[2])
    expected = sampled(DDPM, index, diffusion.grids.padded(levels[2:], LONGEST), STEPS - 2, start)
    result = edited(DDPM, CLEAN[:2], index, 4 / STEPS)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    np.testing.assert_array_equal(result[4:], np.broadcast_to(result[4], (5, 2, *SHAPE)))


def test_an_edit_is_its_own_and_strengths_levels_steps_and_images_are_data_and_no_jit_is_needed():
    order = np.array([2, 0, 4, 1, 3])

    def run(clean, index, strength=0.5, levels=GRID, steps=STEPS):
        return edited(DDPM, clean, index, strength, levels, steps)

    base, compiled = run(CLEAN, FIVE), edited.traces
    np.testing.assert_allclose(run(CLEAN[order], order), base[:, order], atol=5e-6)
    strangers = np.where(order[:, None, None] == 4, CLEAN[order], 9.0).astype(np.float32)
    np.testing.assert_allclose(run(strangers, order + 900 * (order != 4))[:, 2], base[:, 4], atol=5e-6)
    for other in (run(CLEAN, FIVE, 0.9), run(CLEAN, FIVE, 0.5, grid(FLOW, 4), 4)):
        assert np.all(np.isfinite(other)) and not np.allclose(other, base)
    assert edited.traces == compiled
    plain = editing.image_to_image(KEY, ORACLE, DDPM, GRID, CLEAN, FIVE, strength=0.5, num_steps=STEPS)
    np.testing.assert_allclose(plain, base[-1], atol=5e-6)


def test_first_entries_are_rounded_halves_up_and_alike_under_a_trace():
    levels = diffusion.grids.trailing(COSINE, 10)
    traced = jax.jit(lambda strength: editing.first_entry(levels, strength))
    for strength, first in {
        0.0: 10,
        0.04: 10,
        0.05: 9,
        0.15: 8,
        0.35: 6,
        0.349: 7,
        0.65: 3,
        0.949: 1,
        0.95: 0,
        1.0: 0,
    }.items():
        assert editing.first_entry(levels, strength) == first == traced(strength), strength
    assert editing.first_entry(levels, 0.5, num_steps=4) == 2
    long = diffusion.grids.trailing(diffusion.schedules.cosine(), 1000)
    counts = jax.jit(jax.vmap(lambda strength: editing.first_entry(long, strength)))(
        np.linspace(0, 1, 2001, dtype=np.float32)
    )
    np.testing.assert_array_equal(counts, 1000 - (np.arange(2001) + 1) // 2)


def test_a_fixed_strength_is_differentiable_and_float64_stays():
    def total(clean, levels):
        return jnp.sum(
            editing.image_to_image(KEY, ORACLE, DDIM, levels, clean, jnp.arange(5), strength=0.5, num_steps=STEPS) ** 2
        )

    slope = quickly(jax.grad(total, argnums=(0, 1)))
    for schedule in (COSINE, FLOW):
        slopes = slope(CLEAN, grid(schedule))
        assert finite(slopes) and np.any(slopes[0] != 0)
    with jax.enable_x64(True):
        for dtype in (np.float32, np.float64):
            assert edited(DDIM, CLEAN.astype(dtype), FIVE, 0.5).dtype == dtype


def from_entry(key=KEY, clean=CLEAN, index=FIVE, first=2, **options):
    return editing.from_entry(key, ORACLE, DDIM, GRID, clean, index, first=first, **options)


test_edits_that_cannot_be_are_refused = refusals(
    *(
        (
            lambda strength=strength: editing.image_to_image(KEY, ORACLE, DDIM, GRID, CLEAN, FIVE, strength=strength),
            "strength",
        )
        for strength in (-0.1, 1.1, float("nan"))
    ),
    (lambda: from_entry(first=7, num_steps=6), "first = 7"),
    *((lambda heat=heat: from_entry(temperature=heat), "temperature") for heat in (0.0, float("nan"))),
    (lambda: from_entry(index=np.arange(3)), "index names 3"),
    (lambda: from_entry(index=FIVE - 1), "index"),
    (lambda: from_entry(clean=np.ones((5, *SHAPE), np.uint8)), "clean", TypeError),
    (lambda: from_entry(clean=np.full((5, *SHAPE), 255.0)), "pixels"),
    (lambda: from_entry(key=jax.random.PRNGKey(0)), "key", TypeError),
    (lambda: editing.slerp(jnp.ones((2, 3)), jnp.ones((2, 1)), 0.5), "first"),
    (
        lambda: editing.between_images(ORACLE, CLEAN[:2], CLEAN[2:4], 0.5, diffusion.grids.trailing(FLOW, 1)),
        "use 2 steps or more",
    ),
)


def test_the_steps_of_an_edit_may_be_watched_and_count_from_its_first_one():
    calls = []
    from_entry(first=len(GRID) - 3, on_level=lambda step, x: calls.append((int(step), x.shape)))
    jax.effects_barrier()
    assert calls == [(1, CLEAN.shape), (2, CLEAN.shape)]


# The circle between two noises.

slerp = jax.jit(editing.slerp)


@pytest.mark.float64
def test_slerp_turns_at_an_even_pace_and_its_norm_runs_linearly():
    first, angle = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), np.array([0.3, 2.5, 3.0])
    size = np.linalg.norm(first, axis=1)
    second = 3 * (np.cos(angle)[:, None] * first + (np.sin(angle) * size)[:, None] * np.array([[0.0, 0.0, 1.0]]))
    for share in (0.25, np.array([0.1, 0.5, 0.9])):
        result = slerp(first, second, share)
        np.testing.assert_allclose(np.linalg.norm(result, axis=1), size * (1 + 2 * share), rtol=1e-12)
        turned = np.sum(result * first, axis=1) / size / np.linalg.norm(result, axis=1)
        np.testing.assert_allclose(np.arccos(turned), share * angle, rtol=1e-9)


def test_slerp_ends_are_exact_and_samples_their_own():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 4, 4, 1)).astype(np.float32)
    b[1] *= 30.0
    np.testing.assert_array_equal(slerp(a, b, 0.0), a)
    np.testing.assert_array_equal(slerp(a, b, 1.0), b)
    shares = np.linspace(0, 1, 5, dtype=np.float32)
    full = slerp(a, b, shares)
    for i in range(5):
        np.testing.assert_array_equal(slerp(a[i : i + 1], b[i : i + 1], shares[i : i + 1])[0], full[i])
    np.testing.assert_allclose(slerp(b, a, 1 - shares), full, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_slerp_is_finite_for_parallel_opposite_and_zero_vectors(dtype):
    a = np.array([[1.0, -2.0], [1.0, -2.0], [1.0, -2.0], [0.0, 0.0], [0.0, 0.0], [1.0, -2.0], [1.0, 0.0], [1.0, 0.0]])
    b = np.array([[1.0, -2.0], [3.0, -6.0], [-1.0, 2.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [1.0, 1e-4], [-1.0, 1e-3]])
    a, b = jnp.asarray(a, dtype), jnp.asarray(b, dtype)
    both = quickly(
        jax.value_and_grad(lambda *values: jnp.sum(editing.slerp(*values).astype(jnp.float32) ** 2), argnums=(0, 1, 2))
    )
    for share in (0.0, 0.3, 1.0):
        result, (value, slopes) = slerp(a, b, jnp.float32(share)), both(a, b, jnp.float32(share))
        assert result.dtype == dtype and finite((value, *(slope.astype(jnp.float32) for slope in slopes)))
        straight = (1 - share) * a.astype(jnp.float32) + share * b.astype(jnp.float32)
        np.testing.assert_allclose(
            result.astype(jnp.float32)[:7], straight[:7], atol=1e-6 if dtype == jnp.float32 else 0.05
        )


# Between images.

CENTRES = np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)


@jax.jit
def between(first, second, share, levels, steps):
    oracle = diffusion.oracles.mixture([0.5, 0.5], CENTRES.astype(np.float64), [0.3, 0.3])
    return editing.between_images(oracle, first, second, share, levels, num_steps=steps, trajectory=True)


@table("path", PATHS)
def test_between_images_is_finite_and_has_a_trajectory_on_every_path(path):
    result = between(
        CENTRES[[0, 0, 1]], CENTRES[[0, 1, 0]], np.array([0.0, 1.0, 0.5], np.float32), grid(PATHS[path]), STEPS
    )
    assert result.shape == (LONGEST + 1, 3, 2) and np.all(np.isfinite(result))
    np.testing.assert_array_equal(result[-1], result[STEPS])


@pytest.mark.float64
@table("steps", (4, 20))
def test_between_images_returns_the_images_at_its_ends_in_few_steps(steps):
    images = np.array([[1.2, -0.9], [0.8, -1.1], [1.2, -0.9]]), np.array([[-0.9, 0.7], [1.1, -0.6], [-0.9, 0.7]])
    levels = diffusion.grids.padded(diffusion.grids.trailing(COSINE, steps), 20)
    ends = between(*images, np.array([0.0, 1.0, 1.0]), levels, steps)[-1]
    np.testing.assert_allclose(ends, [images[0][0], images[1][1], images[1][2]], atol=1e-8)


def test_between_images_is_finite_in_a_single_step_from_no_signal_as_documented():
    """From alpha = 0 to sigma = 0 nothing of the start is kept."""
    for share in (0.0, 0.5, 1.0):
        assert finite(between(CENTRES[[0, 0, 1]], CENTRES[[0, 1, 0]], np.full(3, share, np.float32), grid(FLOW, 1), 1))


# Inpainting.

MASK, GAUSSIAN = np.array([[1, 0, 1], [0, 1, 0]], bool), diffusion.oracles.gaussian(0.5, 0.2)
SAMPLERS = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "heun": diffusion.samplers.heun(),
    "corrected": diffusion.samplers.predictor_corrector(),
}


def entries(n, resamples, jump):
    """The entries of a grid of n intervals that are visited."""
    numbers = np.arange(n + 1.0)
    return np.asarray(inpainting.resampled(Level(numbers, numbers, numbers), resamples, jump).t).astype(int).tolist()


def there_and_back(schedule, n=6, resamples=3, jump=2):
    return inpainting.resampled(diffusion.grids.trailing(schedule, n), resamples, jump)


def painted(sampler, levels, mask=MASK):
    return sampled(inpainting.repaint(sampler, CLEAN, mask), FIVE, levels, None)


def test_resampled_grids_go_back_as_the_algorithm_does():
    assert entries(4, 1, 2) == entries(4, 3, 4) == [0, 1, 2, 3, 4]
    assert entries(4, 2, 1) == [0, 1, 0, 1, 2, 1, 2, 3, 2, 3, 4]
    assert entries(5, 2, 2) == [0, 1, 2, 0, 1, 2, 3, 4, 2, 3, 4, 5]
    assert entries(4, 3, 2) == [0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4]
    visited = np.array(entries(250, 10, 10))
    down = np.diff(visited) > 0
    assert (
        visited[0] == 0
        and visited[-1] == 250
        and np.all(np.diff(visited)[down] == 1)
        and np.all(np.diff(visited)[~down] == -10)
    )
    assert down.sum() == 250 + 24 * 9 * 10


@table(("sampler", "path"), itertools.product(SAMPLERS, PATHS))
def test_what_is_not_masked_is_returned_exactly_and_the_rest_is_painted(sampler, path):
    result = np.asarray(painted(SAMPLERS[sampler], there_and_back(PATHS[path])))
    known = np.broadcast_to(~MASK, CLEAN.shape)
    assert np.all(np.isfinite(result))
    np.testing.assert_array_equal(result[-1][known], CLEAN[known])
    assert np.all(np.abs(result[-1] - CLEAN)[~known] > 1e-4)


@pytest.mark.parametrize("sampler", [DDIM, diffusion.samplers.dpm_solver_multistep()], ids=["ddim", "multistep"])
def test_what_is_known_has_one_noise_where_that_is_given_and_ends_clean(sampler):
    levels = diffusion.grids.trailing(COSINE, 6)[:-1]  # whose end is noisy
    noise = np.random.default_rng(2).normal(size=CLEAN.shape).astype(np.float32)
    path = np.asarray(sampled(inpainting.repaint(sampler, CLEAN, MASK, noise), FIVE, levels, 5))
    known = np.broadcast_to(~MASK, CLEAN.shape)
    for entry in range(1, 5):
        expected = levels.alpha[entry] * CLEAN + levels.sigma[entry] * noise
        np.testing.assert_allclose(path[entry][known], expected[known], atol=1e-6)
    np.testing.assert_array_equal(path[-1][known], CLEAN[known])
    nothing_known = inpainting.repaint(sampler, CLEAN, np.array(True), noise)
    np.testing.assert_allclose(sampled(nothing_known, FIVE, levels, 5), sampled(sampler, FIVE, levels, 5), atol=1e-6)


def test_a_temperature_is_that_of_pure_noise_alone():
    levels = grids.trailing(COSINE, 6)

    def starts(temperature):
        options = {"temperature": temperature, "trajectory": True}
        return [editing.from_entry(KEY, ORACLE, DDIM, levels, CLEAN, FIVE, first=n, **options)[0] for n in (0, 2)]

    warm, plain = starts(1.5), starts(1.0)
    np.testing.assert_allclose(warm[0], 1.5 * plain[0], rtol=1e-6)
    np.testing.assert_array_equal(warm[1], plain[1])


def test_with_everything_masked_on_a_plain_grid_the_law_is_that_of_the_sampler():
    """Only the keys differ, and a deterministic sampler has none."""
    levels = diffusion.grids.trailing(COSINE, 6)
    np.testing.assert_allclose(painted(DDIM, levels, np.array(True)), sampled(DDIM, FIVE, levels, None), atol=1e-6)


def test_known_entries_and_steps_back_are_noised_as_the_forward_process_does():
    """Each state of one entry that is kept, after x_T, is N(alpha known, sigma²), and neighbours on the way down are
    independent.
    """
    known, count = np.full((1, 1), 1.5, np.float32), 4000
    levels = there_and_back(FLOW, 4, 2, 2)
    sampler = inpainting.repaint(DDPM, jnp.broadcast_to(known, (count, 1)), np.array(False))
    samples = jax.jit(
        lambda key: diffusion.sampling.sample(key, GAUSSIAN, sampler, levels, (1,), jnp.arange(count), trajectory=True)
    )
    states, back = np.asarray(samples(jax.random.key(0)))[..., 0], np.flatnonzero(np.diff(levels.sigma) > 0)[0]
    for j in range(1, len(levels)):
        spread = 5 * levels.sigma[j] / np.sqrt(count)
        assert abs(states[j].mean() - 1.5 * levels.alpha[j]) <= spread + 1e-6, j
        assert abs(states[j].std() - levels.sigma[j]) <= spread, j
    ratio = levels.alpha[back + 1] / levels.alpha[back]
    correlation = np.corrcoef(states[back], states[back + 1])[0, 1]
    assert abs(correlation - ratio * levels.sigma[back] / levels.sigma[back + 1]) < 0.08
    assert abs(np.corrcoef(states[back - 1], states[back])[0, 1]) < 0.08


def test_resampling_brings_what_is_painted_to_the_posterior():
    """Of two entries correlated by 0.9, the second given the first: N(0.9 first, 0.19)."""
    oracle, count = diffusion.oracles.correlated(np.zeros(2), [[1.0, 0.9], [0.9, 1.0]]), 1000
    known = jnp.broadcast_to(jnp.array([1.0, 0.0]), (count, 2))
    sampler = inpainting.repaint(DDPM, known, np.array([False, True]))
    second = in_numpy(
        lambda levels: diffusion.sampling.sample(jax.random.key(1), oracle, sampler, levels, (2,), jnp.arange(count))[
            :, 1
        ]
    )
    levels = diffusion.grids.trailing(diffusion.schedules.cosine(200), 40)
    again = inpainting.resampled(levels, 10, 4)
    plain, often = second(grids.padded(levels, len(again) - 1)), second(again)
    assert abs(often.mean() - 0.9) < 0.07 and abs(plain.mean() - 0.9) > 2 * abs(often.mean() - 0.9), (
        plain.mean(),
        often.mean(),
    )
    assert abs(often.std() - np.sqrt(0.19)) < 0.08, (plain.std(), often.std())


def test_a_painting_is_its_own_in_batches_and_one_compile_serves_all_values():
    masks, order = np.random.default_rng(2).random((5, *SHAPE)) < 0.5, np.array([2, 0, 4, 1, 3])

    @Traced
    def run(known, mask, index, levels, steps, mean):
        sampler, oracle = inpainting.repaint(DDPM, known, mask), diffusion.oracles.gaussian(0.5, mean)
        return diffusion.sampling.sample(KEY, oracle, sampler, levels, SHAPE, index, num_steps=steps)

    flow = diffusion.grids.padded(there_and_back(FLOW), 20), 18
    cosine = diffusion.grids.padded(there_and_back(COSINE, 5, 2, 2), 20), 11
    base = run(CLEAN, masks, FIVE, *flow, 0.2)
    np.testing.assert_array_equal(base[~masks], CLEAN[~masks])
    np.testing.assert_allclose(run(CLEAN[order], masks[order], order, *flow, 0.2), base[order], atol=5e-6)
    strangers = CLEAN[order] * (order == 4)[:, None, None], masks[order], np.where(order == 4, 4, order + 900)
    np.testing.assert_allclose(run(*strangers, *flow, 0.2)[2], base[4], atol=5e-6)
    for other in (run(CLEAN, masks, FIVE, *flow, 0.9), run(CLEAN, masks, FIVE, *cosine, 0.2)):
        assert np.all(np.isfinite(other)) and not np.allclose(other, base)
    assert run.traces == 1


def test_gradients_are_finite_on_every_path_and_under_vmap_and_float64_stays():
    def total(known, levels):
        sampler = inpainting.repaint(DDPM, known, MASK)
        return jnp.sum(diffusion.sampling.sample(KEY, ORACLE, sampler, levels, SHAPE, jnp.arange(5)) ** 2)

    grids = [there_and_back(schedule, 3, 2, 1) for schedule in PATHS.values()]
    stacked = jax.tree.map(lambda *fields: jnp.stack(fields), *grids)
    both = quickly(jax.vmap(jax.grad(total, argnums=(0, 1)), in_axes=(None, 0)))(CLEAN, stacked)
    assert finite(both)
    alone = quickly(jax.grad(total, argnums=(0, 1)))(CLEAN, grids[1])
    for one, row in zip(jax.tree.leaves(alone), jax.tree.leaves(both), strict=True):
        np.testing.assert_allclose(one, row[1], rtol=1e-4, atol=1e-4)
    with jax.enable_x64(True):
        levels = jax.tree.map(lambda field: jnp.asarray(field, jnp.float64), grids[1])
        wide = painted(DDPM, levels)
        assert wide.dtype == jnp.float64
        np.testing.assert_array_equal(wide[-1][:, 0, 1], CLEAN[:, 0, 1].astype(np.float64))


test_paintings_that_cannot_be_are_refused = refusals(
    (lambda: inpainting.repaint(diffusion.samplers.dpm_solver_multistep(), CLEAN, MASK), "memory"),
    (lambda: inpainting.repaint(DDPM, CLEAN, np.ones((3, 2))), "does not broadcast"),
    (lambda: inpainting.repaint(DDPM, CLEAN[:1], np.ones((5, *SHAPE))), "does not broadcast"),
    (lambda: inpainting.repaint(DDPM, CLEAN, np.full(SHAPE, 255.0)), "mask"),
    (lambda: inpainting.repaint(DDPM, CLEAN, MASK, CLEAN[:, :1]), "noise has shape"),
    (lambda: inpainting.repaint(DDPM, np.ones((5, *SHAPE), np.uint8), MASK), "known", TypeError),
    (
        lambda: sampled(inpainting.repaint(DDPM, CLEAN[:2], MASK), FIVE, there_and_back(FLOW), None),
        "one known sample for each",
    ),
    (lambda: there_and_back(FLOW, 3, 0, 1), "outside"),
    (lambda: there_and_back(FLOW, 3, 1, 0), "outside"),
)
