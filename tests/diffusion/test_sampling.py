"""The one loop: what it does with keys, steps, starts, chunks and trajectories, and what it refuses."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import records
from gendiff.diffusion import denoiser, grids, guidance, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.types import Level, Prediction
from tests.tables import table
from tests.traced import Traced

pytestmark = pytest.mark.numbers

SCHEDULE = schedules.cosine(100)
SHAPE = (3, 2)
GAUSSIAN = oracles.gaussian(0.5, 0.2)


def levels(n=4):
    return grids.trailing(SCHEDULE, n)


def sample(sampler, index, grid, start, num_steps, trajectory=False):
    key = jax.random.key(5)
    return sampling.sample(
        key, GAUSSIAN, sampler, grid, SHAPE, index, start=start, num_steps=num_steps, trajectory=trajectory
    )


fixed, traced = (
    jax.jit(sample, static_argnames=("num_steps", "trajectory")),
    jax.jit(sample, static_argnames="trajectory"),
)


def draw(sampler=None, index=range(3), grid=None, start=None, num_steps=None, trajectory=False):
    return fixed(sampler or ancestral.ddim(1.0), jnp.array(list(index)), grid or levels(), start, num_steps, trajectory)


def network(params, x, t, label):
    shape = (-1,) + (1,) * (x.ndim - 1)
    return jnp.tanh(params["gain"] * x + 0.1 * label.astype(x.dtype).reshape(shape)) + 0.001 * t.astype(
        x.dtype
    ).reshape(shape)


def predicting(label, gain=0.7):
    return denoiser.from_network(network, {"gain": jnp.asarray(gain)}, parameterization.velocity(), label)


# Keys: a change here is a major version.


def sample_key(index):
    return jax.random.fold_in(jax.random.key(5), index)


@pytest.mark.parametrize("index", [0, 17, 2**31 - 1])
def test_start_is_sigma_times_noise_of_the_samples_own_key(index):
    noise = jax.random.normal(jax.random.fold_in(sample_key(index), 0), SHAPE, jnp.float32)
    for grid, sigma in ((levels(), levels().sigma[0]), (grids.karras(schedules.edm(), 4), jnp.float32(80.0))):
        np.testing.assert_array_equal(draw(index=[index], grid=grid, trajectory=True)[0, 0], sigma * noise)


def test_step_j_draws_from_the_key_folded_with_j_plus_one():
    x, small = draw(index=[17], trajectory=True), draw(ancestral.ddpm(), index=[17], trajectory=True)
    for j in range(3):
        level, cleaner = levels()[j], levels()[j + 1]
        fresh = jax.random.normal(jax.random.fold_in(sample_key(17), j + 1), SHAPE, jnp.float32)[None]
        expected = ancestral.ddim_step(GAUSSIAN(x[j], level), level, cleaner, eta=1.0, noise=fresh)
        np.testing.assert_allclose(x[j + 1], expected, rtol=1e-5, atol=1e-6)
        expected = ancestral.ddpm_step(small[j], GAUSSIAN(small[j], level), level, cleaner, noise=fresh)
        np.testing.assert_allclose(small[j + 1], expected, rtol=1e-5, atol=1e-6)


def test_noise_stream_is_frozen():
    """Stored values: they hold as long as neither the key rule nor JAX's threefry stream changes."""
    start = draw(index=[17], trajectory=True)[0, 0] / levels().sigma[0]
    np.testing.assert_allclose(start.ravel(), FROZEN_START, rtol=2e-6)


FROZEN_START = (-1.2337971, -1.7178127, -2.3050840, 1.1590704, -0.6291554, 2.1343410)


# Steps, starts and trajectories.


def test_trajectory_holds_the_state_at_each_level_and_repeats_the_last():
    full = draw(trajectory=True)
    assert full.shape == (5, 3, *SHAPE)
    np.testing.assert_array_equal(full[-1], draw())
    part = draw(num_steps=2, trajectory=True)
    np.testing.assert_array_equal(part[:3], full[:3])
    np.testing.assert_array_equal(part[3:], np.stack([full[2]] * 2))
    np.testing.assert_array_equal(draw(num_steps=2), full[2])


@pytest.mark.parametrize("num_steps", [3, jnp.int32(3)], ids=["fixed", "traced"])
def test_a_preview_sees_the_state_at_each_level_and_changes_nothing(num_steps):
    calls = {}
    options = {"shape": SHAPE, "index": jnp.arange(3)}

    @jax.jit
    def states_of(steps):
        def call(step, x):
            calls[int(step)] = np.array(x)

        count = 3 if isinstance(num_steps, int) else steps
        return sampling.sample(
            jax.random.key(5), GAUSSIAN, ancestral.ddim(1.0), levels(), num_steps=count, on_level=call, **options
        )

    last = states_of(num_steps)
    jax.effects_barrier()
    expected = draw(num_steps=3, trajectory=True)
    assert sorted(calls) == [1, 2, 3]
    for step, x in calls.items():
        np.testing.assert_allclose(x, expected[step], atol=1e-6)
    np.testing.assert_allclose(last, expected[3], atol=1e-6)


def test_a_traced_step_count_gives_what_a_fixed_one_gives():
    for n in (1, 3, 4):
        for trajectory in (False, True):
            result = traced(ancestral.ddim(1.0), jnp.arange(3), levels(), None, n, trajectory)
            np.testing.assert_allclose(result, draw(num_steps=n, trajectory=trajectory), atol=2e-6)


@pytest.mark.parametrize("n", [2, np.int64(2), jnp.array(2)], ids=["int", "numpy", "jax"])
def test_a_concrete_step_count_is_fixed_whatever_its_type(n):
    def total(start):
        return sampling.sample(
            jax.random.key(5), GAUSSIAN, ancestral.ddim(), levels(), (1,), jnp.arange(1), num_steps=n, start=start
        ).sum()

    assert np.isfinite(jax.grad(total)(jnp.ones((1, 1)))).all()


def test_padding_changes_nothing():
    np.testing.assert_allclose(
        draw(ancestral.ddim(), grid=grids.padded(levels(3), 10)), draw(ancestral.ddim(), grid=levels(3)), atol=1e-6
    )


def test_start_replaces_the_first_noise_and_sets_the_dtype():
    for dtype in (jnp.float32, jnp.bfloat16):
        start = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(dtype)
        result = draw(start=start, trajectory=True)
        assert result.dtype == dtype and np.all(np.isfinite(result.astype(np.float32)))
        np.testing.assert_array_equal(result[0], start)


def test_levels_of_an_exported_program_are_levels_again():
    pytest.importorskip("flatbuffers")
    program = jax.jit(
        lambda levels: sampling.sample(jax.random.key(0), GAUSSIAN, ancestral.ddim(), levels, SHAPE, jnp.arange(2))
    )
    exported = jax.export.export(program)(levels()).serialize()
    np.testing.assert_array_equal(jax.export.deserialize(exported).call(levels()), program(levels()))


@pytest.mark.float64
def test_temperature_multiplies_deviations_where_the_flow_is_linear_and_is_data():
    @Traced
    def run(temperature):
        options = {"index": jnp.arange(3), "temperature": temperature, "trajectory": True}
        return sampling.sample(jax.random.key(5), GAUSSIAN, ancestral.ddim(), levels(), SHAPE, **options)

    plain, warm = run(1.0), run(1.1)
    assert run.traces == 1
    np.testing.assert_allclose(plain, draw(ancestral.ddim(), trajectory=True), rtol=1e-12)
    centre = draw(ancestral.ddim(), start=jnp.zeros((3, *SHAPE)))
    np.testing.assert_allclose(warm[0], 1.1 * plain[0], rtol=1e-12)
    np.testing.assert_allclose(warm[-1] - centre, 1.1 * (plain[-1] - centre), rtol=1e-12)


def test_each_sample_may_have_a_temperature_of_its_own_and_an_index_up_to_2_to_the_32():
    temperatures, names = np.array([0.5, 1.0, 2.0], np.float32), np.array([3, 2**31 + 7, 2**32 - 1])
    samples = attempt(index=names, temperature=temperatures)
    for row, (name, temperature) in enumerate(zip(names, temperatures, strict=True)):
        alone = attempt(index=np.array([name], np.uint32), temperature=float(temperature))
        np.testing.assert_allclose(samples[row], alone[0], rtol=1e-6, atol=1e-7)
    assert len({float(x) for x in samples[:, 0, 0]}) == 3


def test_keys_steps_and_samples_all_differ():
    full = draw(trajectory=True, index=[0, 1])
    assert len(np.unique(np.asarray(full))) == full.size
    other = sampling.sample(jax.random.key(6), GAUSSIAN, ancestral.ddim(1.0), levels(), SHAPE, jnp.arange(2))
    assert not np.any(np.asarray(other) == np.asarray(full[-1]))


# Samplers are records: memory, count of steps left, evaluations.


@records.record
class Counter(sampling.Sampler):
    """Its memory is how many steps it has seen and a number that holds each `left` at a place of its own, which is also
    its x.
    """

    def init(self, x):
        return sampling.State(x, (jnp.zeros(()), jnp.zeros(())))

    def step(self, noise, denoise, state, level, cleaner, left):
        calls = state.memory[0] + 1
        lefts = state.memory[1] + 10.0**calls * left
        return sampling.State(jnp.full_like(state.x, lefts), (calls, lefts))


def test_memory_is_carried_and_left_counts_the_steps_to_come():
    assert np.all(np.asarray(draw(Counter())) == 10 * 3 + 100 * 2 + 1000 * 1)
    assert np.all(np.asarray(draw(Counter(), num_steps=2)) == 10 * 1)
    assert np.all(np.asarray(traced(Counter(), jnp.arange(3), levels(), None, 2)) == 10 * 1)


def test_vmapped_step_counts_cost_their_maximum_and_give_each_its_own_result():
    calls = []

    def counting(x, level):
        jax.debug.callback(lambda: calls.append(None))
        return GAUSSIAN(x, level)

    def run(count):
        return sampling.sample(
            jax.random.key(5), counting, ancestral.ddim(1.0), levels(), SHAPE, jnp.arange(2), num_steps=count
        )

    counts = jnp.array([1, 4, 2])
    result = jax.block_until_ready(jax.vmap(run)(counts))
    jax.effects_barrier()
    assert len(calls) in (4, 4 * 3), "4 passes, which a callback under vmap may report once for each row"
    for row, n in zip(result, (1, 4, 2), strict=True):
        np.testing.assert_allclose(row, draw(index=range(2), num_steps=n), atol=2e-6)


# Gradients.


@pytest.mark.parametrize("make", [ancestral.ddim, lambda eta: runge_kutta.euler()], ids=["ddim", "euler"])
def test_gradients_reach_start_scale_and_every_level_and_are_finite_at_the_ends_of_eta(make):
    def total(eta, start, scale, grid, gain):
        denoise = predicting(jnp.array([1, 2]), gain)
        guided = guidance.classifier_free(denoise, denoise.with_condition(-1), scale, batched=True)
        return jnp.sum(
            sampling.sample(jax.random.key(0), guided, make(eta), grid, SHAPE, jnp.arange(2), start=start) ** 2
        )

    slope = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3, 4)))
    for schedule in (
        schedules.cosine(50),
        schedules.linear(50),
        schedules.zero_terminal_snr(schedules.scaled_linear(50)),
    ):
        for eta in (0.0, 0.5, 1.0):
            slopes = slope(eta, jnp.ones((2, *SHAPE)), 2.0, grids.trailing(schedule, 3), 0.7)
            assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes)), (schedule, eta, slopes)
        assert all(np.any(np.asarray(slopes[which]) != 0) for which in (1, 2, 4)), schedule
        assert np.all(np.asarray(slopes[3].sigma)[1:-1] != 0) and np.asarray(slopes[3].alpha)[-1] != 0, schedule


@pytest.mark.float64
def test_gradient_through_sampling_is_the_slope_of_the_result():
    def total(eta):
        return jnp.sum(
            sampling.sample(jax.random.key(0), predicting(1), ancestral.ddim(eta), levels(), SHAPE, jnp.arange(2))
        )

    step = 1e-6
    difference = (total(jnp.float64(0.5 + step)) - total(jnp.float64(0.5 - step))) / (2 * step)
    assert float(jax.grad(total)(jnp.float64(0.5))) == pytest.approx(float(difference), rel=1e-6)


# Bad input.

INDEX, DDIM = jnp.arange(3), ancestral.ddim()


def attempt(key=None, denoise=GAUSSIAN, sampler=DDIM, grid=None, index=INDEX, **options):
    key = jax.random.key(0) if key is None else key
    return sampling.sample(key, denoise, sampler, levels() if grid is None else grid, SHAPE, index, **options)


@pytest.mark.fault(
    "denoiser: wrong output shape",
    "denoiser: wrong output dtype",
    "samplers: 0 steps",
    "samplers: more steps than the table",
    "samplers: levels with NaN, or from clean to noise",
    "samplers: no key",
    "samplers: a batch of keys",
    "samplers: a legacy uint32 key",
    "samplers: a key that is not threefry",
    "samplers: temperature with the wrong shape",
    "samplers: index outside its range",
)
@pytest.mark.usefixtures("unchecked")
@table(
    ("call", "error", "named"),
    [
        (lambda: attempt(key=jax.random.PRNGKey(0)), TypeError, "uint32.*wrap_key_data"),
        (lambda: attempt(key=0), TypeError, r"key.*jax\.random\.key"),
        (lambda: attempt(key=jax.random.split(jax.random.key(0), 3)), ValueError, r"\(3,\)"),
        (
            lambda: attempt(key=jax.random.key(0, impl="rbg")),
            TypeError,
            "rbg.*first one.s key.*threefry2x32",
        ),
        (lambda: attempt(index=4), TypeError, r"index.*jnp.arange\(4\), got 4"),
        (lambda: attempt(sampler="ddim"), TypeError, r"string 'ddim': pass samplers.ddim\(\)"),
        (lambda: attempt(sampler=ancestral.ddim), TypeError, "function ddim: call it"),
        (lambda: attempt(sampler=GAUSSIAN.std), TypeError, "sampler must be a record"),
        (lambda: attempt(grid=SCHEDULE), TypeError, r"grids.trailing\(schedule, 50\), got TableSchedule"),
        (lambda: attempt(trajectory="clean"), TypeError, "trajectory must be True or False, got 'clean'"),
        (lambda: attempt(on_level=3), TypeError, "on_level must be a function"),
        (lambda: attempt(num_steps=0), ValueError, "num_steps.*0"),
        (lambda: attempt(num_steps=5), ValueError, "num_steps.*5.*4"),
        (lambda: attempt(num_steps=2.0), TypeError, "num_steps"),
        (lambda: attempt(num_steps=True), TypeError, "num_steps"),
        (lambda: attempt(grid=levels()[0]), ValueError, "levels"),
        (lambda: attempt(grid=levels()[:1]), ValueError, "levels"),
        (
            lambda: attempt(grid=levels()[::-1]),
            ValueError,
            "noise to clean, but the last one has more noise",
        ),
        (
            lambda: attempt(grid=records.replace(levels(), sigma=jnp.asarray(levels().sigma).at[2].set(jnp.nan))),
            ValueError,
            "not finite",
        ),
        (lambda: attempt(index=jnp.arange(3.0)), TypeError, "index"),
        (lambda: attempt(index=jnp.zeros((2, 2), int)), ValueError, r"index.*\(2, 2\)"),
        (lambda: attempt(index=jnp.array([0, -1, 2])), ValueError, r"index.*outside"),
        (lambda: attempt(start=jnp.ones((2, *SHAPE))), ValueError, r"\(2, 3, 2\).*\(3, 3, 2\)"),
        (lambda: attempt(start=np.zeros((3, *SHAPE), np.uint8)), TypeError, "start.*uint8"),
        (lambda: attempt(start=jnp.ones((3, *SHAPE)), temperature=1.1), ValueError, "scale start itself"),
        (lambda: attempt(temperature=0.0), ValueError, "temperature = 0"),
        (lambda: attempt(temperature=jnp.ones(2)), ValueError, r"per sample \(3,\).*got \(2,\)"),
        (lambda: attempt(temperature=jnp.ones((3, 1))), ValueError, r"per sample \(3,\).*got \(3, 1\)"),
        (
            lambda: attempt(grid=records.replace(levels(), sigma=levels().sigma[:3])),
            ValueError,
            r"one shape, got \(5,\), \(5,\), \(3,\)",
        ),
        (lambda: attempt(grid=records.replace(levels(), t=0.0)), ValueError, r"one shape, got \(\), \(5,\), \(5,\)"),
        (lambda: attempt(index=np.array([0, 1, 2**32])), ValueError, "index.*outside"),
        (lambda: attempt(temperature=float("nan")), ValueError, "temperature"),
        (lambda: sampling.in_chunks(attempt, 0), ValueError, "size"),
        (lambda: sampling.in_chunks(attempt, 1.5), TypeError, "size"),
        (lambda: sampling.in_chunks(attempt, 2)(INDEX, jnp.ones((2, 1))), ValueError, r"\(2, 1\).*3 samples"),
        (lambda: attempt(denoise=lambda x, level: x), TypeError, "Prediction"),
        (lambda: attempt(denoise=lambda x, level: Prediction(x[:, :1], x)), TypeError, "clean"),
        (lambda: attempt(denoise=lambda x, level: Prediction(x, x.astype(jnp.bfloat16))), TypeError, "noise.*bfloat16"),
        (lambda: attempt(denoise=predicting(jnp.arange(2))), ValueError, "2.*3|3.*2"),
        (lambda: attempt(grid=Level(jnp.zeros((3, 2)), jnp.ones((3, 2)), jnp.ones((3, 2)))), ValueError, "levels"),
    ],
)
def test_what_cannot_be_sampled_is_refused_before_the_loop(call, error, named):
    with pytest.raises(error, match=named):
        call()
