"""What every method of the catalogue keeps: finite few steps, one program for all values, samples of their own, dtype, costs, equality."""

import dataclasses
from functools import cache, partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from gendiff.diffusion.samplers.catalogue import LAST_STEP, METHODS
from tests.diffusion.families import PARAMETERIZATIONS, SCHEDULES
from tests.quickly import quickly

SCHEDULE = diffusion.schedules.scaled_linear()  # PNDM is for a moderate sigma/alpha
SHAPE = (3,)
every_method = pytest.mark.parametrize("name", METHODS)


def network(params, x, t, label):
    """Twice the channels, the second half for `variance_share`."""
    hint = 0.1 * label.astype(x.dtype) + 1e-3 * t.astype(x.dtype)
    output = jnp.tanh(params["gain"].astype(x.dtype) * x + hint.reshape(-1, *[1] * (x.ndim - 1)))
    return jnp.concatenate([output, 0.5 + 0.1 * output], axis=-1)


def denoiser(params, label, kind=diffusion.parameterization.velocity):
    return diffusion.from_network(network, params, kind(), label, learned_variance=True)


def grid(n, schedule=SCHEDULE, longest=6):
    return diffusion.grids.padded(diffusion.grids.trailing(schedule, n), longest)


def built(name, number=None):
    """The method, or with its number at this place of its range."""
    method = METHODS[name]
    sampler = method.make(SCHEDULE)
    return sampler if number is None else dataclasses.replace(sampler, **{field: pair[number] for field, pair in method.numbers})


# One program.


@every_method
def test_one_program_serves_all_values_and_a_sample_is_its_own_jitted_mapped_or_neither(name):
    """The batch is drawn whole, in another order and beside strangers; two numbers of steps at once, as mapped; and without a jit."""
    traces = []

    def draw(sampler, params, key, index, label, scale, levels, num_steps):
        traces.append(None)
        given = denoiser(params, label)
        guided = diffusion.guidance.classifier_free(given, given.with_condition(gd.NO_LABEL), scale, batched=True)
        return diffusion.sample(key, guided, sampler, levels, SHAPE, index, num_steps=num_steps)

    mapped = quickly(jax.vmap(draw, in_axes=(None,) * 7 + (0,)))

    def run(steps=(5, 2), index=(0, 1, 2, 3), scale=1.5, gain=0.7, seed=0, number=None, call=mapped):
        index = np.asarray(index, np.int32)
        values = {"gain": np.float32(gain)}, jax.random.key(seed), index, index % 3, np.float32(scale), grid(5), np.int32(steps)
        return np.asarray(call(built(name, number), *values))

    both = run()
    base = both[0]
    assert both.shape == (2, 4, *SHAPE) and both.dtype == np.float32 and np.all(np.isfinite(both))
    others = [run(scale=0.0)[0], run(gain=0.9)[0], run(seed=1)[0], run(steps=(1, 3))[0], both[1]]
    if METHODS[name].numbers:
        low, high = (run(number=which)[0] for which in (0, 1))
        assert np.all(np.isfinite(low)) and not np.array_equal(low, high)
    for other in others:
        assert np.all(np.isfinite(other)) and not np.array_equal(other, base)
    np.testing.assert_allclose(run(index=(3, 1, 0, 2))[0], base[[3, 1, 0, 2]], atol=5e-6)
    np.testing.assert_allclose(run(index=(900, 2, 77, 2**31 - 1))[0][1], base[2], atol=5e-6)
    assert len(traces) == 1
    if not METHODS[name].along_path:  # thousands of operations one by one
        with jax.disable_jit():
            np.testing.assert_allclose(run(steps=2, call=draw), both[1], atol=5e-6)


@every_method
def test_stated_evaluations_are_those_made_on_a_grid_that_ends_clean(name):
    method, sampler, calls = METHODS[name], built(name), []

    def denoise(x, level):
        calls.append(None)
        return denoiser({"gain": jnp.float32(0.7)}, 1)(x, level)

    if not method.along_path:
        with jax.disable_jit():  # nothing is compiled
            diffusion.sample(jax.random.key(0), denoise, sampler, grid(5, longest=5), (2,), jnp.arange(2))
        assert len(calls) - 1 == sampler.evaluations(5)  # one checks the denoiser's output before the loop
    for n in (10, 50):
        assert sampler.evaluations(n) == eval(method.evaluations.replace("n", "*n").lstrip("*"), {"n": n})


# Few steps.


@cache
def short_grids(with_signal):
    """(name, steps, levels) for 1 … 3 steps of every schedule, and their levels as one."""
    usable = {name: build() for name, build in SCHEDULES.items()}
    usable = {name: schedule for name, schedule in usable.items() if schedule.noisiest.alpha > 0 or not with_signal}
    cases = [(name, n, jax.device_get(grid(n, schedule, 3))) for name, schedule in usable.items() for n in (1, 2, 3)]
    return cases, jax.tree.map(lambda *fields: np.stack(fields), *(levels for *_, levels in cases))


FEW_STEPS = [(name, "velocity") for name in METHODS]
FEW_STEPS += [(name, kind) for name in ("ddim stochastic", "ddpm large", "euler") for kind in ("noise", "flow", "edm", "clean")]


@pytest.mark.parametrize(("name", "parameterization"), FEW_STEPS)
def test_few_steps_and_their_gradients_are_finite_and_end_at_the_prediction(name, parameterization):
    """At 1 … 3 steps on every schedule: finite values and gradients by parameters, start and levels, under vmap, and the prediction last.

    Grids are filled up to three steps by steps that stay at the clean end, so that one program serves all.
    """
    method, sampler, kind = METHODS[name], built(name), PARAMETERIZATIONS[parameterization]
    exponential = method.order and name.startswith(("ddim", "dpm_solver", "unipc", "deis", "pndm"))

    def total(gain, start, levels):
        denoise = denoiser({"gain": gain}, 1, kind)
        start = jnp.maximum(levels.sigma[0], 0.1) * start
        states = diffusion.sample(jax.random.key(0), denoise, sampler, levels, (2,), jnp.arange(2), start=start, trajectory=True)
        predictions = [denoise(states[j], levels[j]) for j in range(3)]
        ddim = levels.alpha[1] * predictions[0].clean + levels.sigma[1] * predictions[0].noise
        return jnp.sum(states[-1] ** 2), (states, jnp.stack([p.clean for p in predictions]), ddim)

    cases, stacked = short_grids(with_signal=parameterization == "noise")  # it divides by alpha
    slopes = quickly(jax.vmap(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True), in_axes=(None, None, 0)))
    start = np.array([[1.0, -0.5], [0.3, 2.0]], np.float32)
    (_, (states, clean, ddim)), gradients = slopes(jnp.float32(0.7), start, stacked)
    assert np.any(gradients[0] != 0)
    for i, (schedule, n, levels) in enumerate(cases):
        assert all(np.all(np.isfinite(leaf[i])) for leaf in jax.tree.leaves((states, gradients))), (schedule, n)
        if LAST_STEP in method.exact and not (method.name == "reversible_heun" and n > 1):  # it asks elsewhere than at its state
            scale = max(1.0, np.abs(clean[i, n - 1]).max())
            np.testing.assert_allclose(states[i, n] / scale, clean[i, n - 1] / scale, atol=3e-6, err_msg=f"{schedule} {n}")
        if exponential and levels.alpha[0] == 0:
            np.testing.assert_allclose(states[i, 1], ddim[i], atol=1e-6, err_msg=f"{schedule} {n}: DDIM where no signal is left")


OWN_LEVELS = ("heun", "rk4", "dpm_solver_multistep 3 sde", "dpm_solver_single 2 sde", "unipc 3", "deis 3 ratio", "pndm runge_kutta")


@pytest.mark.parametrize("name", OWN_LEVELS)
def test_each_sample_may_have_levels_of_its_own(name):
    """Levels (b,): one sample starts without signal, one ends before the others, and none looks at its neighbours."""
    three = [
        diffusion.Level(jnp.array([900.0, 999.0, 300.0]), jnp.array([0.3, 0.0, 0.8]), jnp.array([0.9, 1.0, 0.6])),
        diffusion.Level(jnp.array([600.0, 700.0, -1.0]), jnp.array([0.5, 0.4, 1.0]), jnp.array([0.8, 0.9, 0.0])),
        diffusion.Level(jnp.array([300.0, 300.0, -1.0]), jnp.array([0.8, 0.8, 1.0]), jnp.array([0.6, 0.6, 0.0])),
    ]
    x, keys = jnp.array([[1.0, -0.5], [0.3, 2.0], [0.7, 0.1]]), jax.random.split(jax.random.key(0), 3)
    sampler, denoise = built(name), denoiser({"gain": jnp.float32(0.7)}, 1)

    def two_steps(x, keys, *levels):
        state = sampler.init(x)
        for step, (level, cleaner) in enumerate(zip(levels, levels[1:], strict=False)):
            state = sampler.step(sampler.noise_for_step(keys, step, level, cleaner), denoise, state, level, cleaner, 1 - step)
        return state.x

    @jax.jit
    def together_and_alone(x, keys, *levels):
        rows = jax.tree.map(lambda leaf: leaf[:, None], (x, keys, *levels))
        return two_steps(x, keys, *levels), jax.vmap(two_steps)(*rows)[:, 0]

    together, alone = together_and_alone(x, keys, *three)
    np.testing.assert_allclose(together[:2], alone[:2], atol=5e-6)
    if name != "dpm_solver_multistep 3 sde":  # its noise at a clean end is multiplied by 0
        np.testing.assert_allclose(together[2], alone[2], atol=5e-6)


@pytest.mark.float64
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.numbers and name != "churn"])
def test_the_slope_by_a_number_is_right_where_it_is_zero(name):
    """By a difference to one side, since noise is not drawn below 0. Churn is left out: its slope there is infinite."""
    ((field, _),) = METHODS[name].numbers
    levels = diffusion.grids.trailing(SCHEDULE, 3)

    @jax.jit
    def total(number):
        sampler = dataclasses.replace(built(name), **{field: number})
        return jnp.sum(diffusion.sample(jax.random.key(0), diffusion.oracles.gaussian(0.5, 0.2), sampler, levels, SHAPE, jnp.arange(2)))

    value, slope = jax.jvp(total, (0.0,), (1.0,))
    assert abs(slope) > 1e-3 and float(slope) == pytest.approx(float(total(1e-6) - value) / 1e-6, rel=1e-3)


# What tracing alone shows.


def drawn(name, levels, number=0.5, **options):
    """(index, label) -> samples, not compiled."""
    sampler = dataclasses.replace(built(name), **{field: number for field, _ in METHODS[name].numbers})

    def draw(index, label):
        denoise = denoiser({"gain": jnp.asarray(0.7, levels.sigma.dtype)}, label)
        return diffusion.sample(jax.random.key(0), denoise, sampler, levels, (2, 2, 1), index, **options)

    return draw


@every_method
@pytest.mark.parametrize("double", [False, True], ids=["float32", "float64"])
def test_the_dtype_stays_under_strict_promotion(name, double):
    with jax.enable_x64(double):
        levels, wide = diffusion.grids.trailing(SCHEDULE, 3), jnp.result_type(float)
        with jax.numpy_dtype_promotion("strict"):
            result = jax.eval_shape(drawn(name, levels, jnp.asarray(0.5, wide)), jnp.arange(2), jnp.arange(2))
        assert result.shape == (2, 2, 2, 1) and result.dtype == wide
        start = jnp.ones((2, 2, 2, 1), jnp.float32)
        assert jax.eval_shape(drawn(name, levels, start=start), jnp.arange(2), jnp.arange(2)).dtype == jnp.float32


@every_method
def test_a_batch_is_split_over_devices_by_shard_map(name):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, levels = jax.sharding.PartitionSpec("data"), grid(3)

    def split(draw, **check):
        return jax.eval_shape(jax.shard_map(draw, mesh=mesh, in_specs=rows, out_specs=rows, **check), jnp.arange(2), jnp.arange(2))

    if METHODS[name].along_path:
        with pytest.raises(TypeError, match="check_vma=False"):
            split(drawn(name, levels))
        assert split(drawn(name, levels), check_vma=False).shape == (2, 2, 2, 1)
    else:
        split(drawn(name, levels))
        split(lambda *rows: jnp.moveaxis(drawn(name, levels, num_steps=jnp.asarray(2), trajectory=True)(*rows), 1, 0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.along_path])  # diffrax calls back to the host
def test_a_program_is_exported_for_any_batch(name):
    (b,) = jax.export.symbolic_shape("b")
    exported = jax.export.export(jax.jit(drawn(name, grid(3))))(*[jax.ShapeDtypeStruct((b,), jnp.int32)] * 2)
    assert exported.out_avals[0].shape == (b, 2, 2, 1)


# The catalogue.


def test_rebuilt_samplers_are_equal_hash_alike_and_differ_from_their_siblings():
    for name in METHODS:
        assert built(name) == built(name) and hash(built(name)) == hash(built(name))
    assert len({built(name) for name in METHODS}) == len(METHODS)


def test_the_catalogue_holds_every_public_sampler_as_users_call_it():
    public = {name: value for name, value in vars(diffusion.samplers).items() if name in diffusion.samplers.__all__ and callable(value)}
    assert set(public) == {name.split()[0] for name in METHODS} | {"stretched"}  # which is any of them, with gains
    for name, method in METHODS.items():
        assert method.name == name and built(name) == eval(method.call, public | {"schedule": SCHEDULE})


samplers, FLOW = diffusion.samplers, diffusion.schedules.flow()


@pytest.mark.fault("samplers: eta outside [0, 1]")
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("make", "field", "wrong"),
    [
        (samplers.ddim, "eta", (-0.1, 1.1, np.nan)),
        (samplers.ddpm, "variance", ("larger",)),
        (samplers.euler_ancestral, "eta", (-0.1, np.nan)),
        (samplers.predictor_corrector, "corrector_steps", (-1,)),
        (samplers.predictor_corrector, "snr", (-0.1,)),
        (partial(samplers.fixed_path, samplers.ddpm()), "tolerance", (0.0,)),
        *((partial(samplers.churn, FLOW), field, (-0.1, np.nan)) for field in ("churn", "churn_min", "churn_max", "churn_noise")),
        (partial(samplers.churn, FLOW), "churn", (np.inf,)),
        (samplers.deis, "order", (0, 5)),
        (partial(samplers.deis, 3), "variable", ("t",)),
        (partial(samplers.deis, 3), "start", ("first",)),
        (samplers.unipc, "order", (0, 4)),
        (partial(samplers.unipc, 2), "variant", ("bh3",)),
        (samplers.dpm_solver_multistep, "order", (0, 4)),
        (partial(samplers.dpm_solver_multistep, 2), "eta", (-0.1,)),
        (partial(samplers.dpm_solver_multistep, 2), "formula", ("published",)),
        (partial(samplers.dpm_solver_multistep, 3), "formula", ("midpoint", "exakt")),
        (partial(samplers.dpm_solver_multistep, 3), "start", ("second",)),
        (partial(samplers.dpm_solver_single, FLOW), "order", (0, 4)),
        (partial(samplers.dpm_solver_single, FLOW, 2), "eta", (-1.0,)),
        (partial(samplers.dpm_solver_single, FLOW, 3), "eta", (1.0,)),
    ],
)
def test_settings_outside_their_range_are_refused_by_name(make, field, wrong):
    for value in wrong:
        with pytest.raises(ValueError, match=field):
            make(**{field: value})
