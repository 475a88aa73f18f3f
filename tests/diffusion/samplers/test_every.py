"""What every method of the catalogue keeps: finite few steps, one program for all values, samples of their own, dtype,
costs, equality.

What is compiled runs on `MEMBERS`, which hold every class of the catalogue and every choice of its code.
"""

import collections
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
from tests.quickly import in_numpy, quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

SCHEDULE = diffusion.schedules.scaled_linear()  # PNDM is for a moderate sigma/alpha
SHAPE = (3,)


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
    return (
        sampler
        if number is None
        else dataclasses.replace(sampler, **{field: pair[number] for field, pair in method.numbers})
    )


# A member for each class, and for each choice of its code.


def choices(name):
    """A method's class with its words and switches, with which of its fields are there, and with whether it has
    numbers.
    """
    sampler = built(name)
    values = {field.name: getattr(sampler, field.name) for field in dataclasses.fields(sampler)}
    switches = {field: value if isinstance(value, str | bool) else value is None for field, value in values.items()}
    return {(type(sampler), *choice) for choice in [*switches.items(), ("numbers", bool(METHODS[name].numbers))]}


def members():
    """As few methods as have all choices, of those that have equally many the later one: it has the higher order."""
    missing, chosen = set().union(*map(choices, METHODS)), set()
    while missing:
        best = max(reversed(METHODS), key=lambda name: len(choices(name) & missing))
        missing -= choices(best)
        chosen.add(best)
    return [name for name in METHODS if name in chosen]


MEMBERS = members()
COMPILED = [name for name in MEMBERS if not METHODS[name].along_path]  # diffrax calls back to the host
SIBLINGS = ("ddpm small", "ddpm large", "dpm_solver_single 3", "deis 3 plain", "pndm runge_kutta")
"""Members beside another one of their class, whose programs are compiled with the slow tests alone."""
LOOPS = ("ddim stochastic", "unipc 3", "predictor_corrector")
"""Both loops over the steps, and noise inside of a step."""


def test_members_are_of_every_class_and_of_every_choice_of_its_code():
    assert {type(built(name)) for name in MEMBERS} == {type(built(name)) for name in METHODS}
    assert set().union(*map(choices, MEMBERS)) == set().union(*map(choices, METHODS))
    assert set(LOOPS) <= set(COMPILED)
    multistep = [built(name) for name in MEMBERS if type(built(name)) is type(built("unipc 3"))]
    assert {sampler.correct for sampler in multistep} == {"never", "first", "always"}
    assert {built(name).variance for name in MEMBERS if name.startswith("ddpm")} == {"small", "large", "learned"}
    assert {type(built(name)) for name in set(MEMBERS) - set(SIBLINGS)} == {type(built(name)) for name in METHODS}
    assert {"ddim", "ddim stochastic", "pndm", "pndm runge_kutta"} <= set(MEMBERS) and len(MEMBERS) <= len(
        METHODS
    ) * 0.6


# One program.


@pytest.mark.parametrize("name", some_slow(MEMBERS, SIBLINGS))
def test_one_program_serves_all_values_and_a_sample_is_its_own_jitted_mapped_or_neither(name):
    """The batch is drawn whole, in another order and beside strangers; two numbers of steps at once, as mapped; and
    without a jit.
    """
    traces = []

    def draw(sampler, params, key, index, label, scale, levels, num_steps):
        traces.append(None)
        conditional = denoiser(params, label)
        guided = diffusion.guidance.classifier_free(
            conditional, conditional.with_condition(gd.NO_LABEL), scale, batched=True
        )
        return diffusion.sample(key, guided, sampler, levels, SHAPE, index, num_steps=num_steps)

    mapped = quickly(jax.vmap(draw, in_axes=(None,) * 7 + (0,)))

    def run(steps=(5, 2), index=(0, 1, 2, 3), scale=1.5, gain=0.7, seed=0, number=None, call=mapped):
        index = np.asarray(index, np.int32)
        values = (
            {"gain": np.float32(gain)},
            jax.random.key(seed),
            index,
            index % 3,
            np.float32(scale),
            grid(5),
            np.int32(steps),
        )
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
    if name in LOOPS:  # since operations run one by one
        with jax.disable_jit():
            np.testing.assert_allclose(run(steps=2, call=draw), both[1], atol=5e-6)


def test_stated_evaluations_are_those_made_on_a_grid_that_ends_clean():
    """Counted while one program of them runs: what the last step leaves out, a condition inside the program decides."""
    names = [name for name in METHODS if name in COMPILED or METHODS[name].evaluations != "n"]
    counts = collections.Counter()

    def draw(name):
        def denoise(x, level):
            jax.debug.callback(lambda: counts.update([name]))
            return diffusion.Prediction(x / 2, x / 2, x / 2)

        return diffusion.sample(jax.random.key(0), denoise, built(name), grid(5, longest=5), (2,), jnp.arange(2))

    jax.block_until_ready(quickly(lambda: [draw(name) for name in names])())
    jax.effects_barrier()
    assert counts == {name: built(name).evaluations(5) for name in names}
    for name, method in METHODS.items():
        for n in (10, 50):
            assert built(name).evaluations(n) == eval(method.evaluations.replace("n", "*n").lstrip("*"), {"n": n}), name


# Few steps.


@cache
def short_grids(with_signal):
    """(name, steps, levels) for 1 … 3 steps of every schedule, and their levels as one."""
    usable = {name: build() for name, build in SCHEDULES.items()}
    usable = {name: schedule for name, schedule in usable.items() if schedule.noisiest.alpha > 0 or not with_signal}
    cases = [(name, n, jax.device_get(grid(n, schedule, 3))) for name, schedule in usable.items() for n in (1, 2, 3)]
    return cases, jax.tree.map(lambda *fields: np.stack(fields), *(levels for *_, levels in cases))


FEW_STEPS = [(name, "velocity") for name in COMPILED if name not in SIBLINGS]
FEW_STEPS += [("euler", kind) for kind in ("noise", "clean")]  # which divide
FEW_STEPS += [pytest.param(name, "velocity", marks=pytest.mark.slow) for name in (*SIBLINGS, "fixed_path")]


@pytest.mark.parametrize(("name", "parameterization"), FEW_STEPS)
def test_few_steps_and_their_gradients_are_finite_and_end_at_the_prediction(name, parameterization):
    """At 1 … 3 steps on every schedule: finite values and gradients by parameters, start and levels, under vmap, and
    the prediction last.

    Grids are filled up to three steps by steps that stay at the clean end, so that one program serves all.
    """
    method, sampler, kind = METHODS[name], built(name), PARAMETERIZATIONS[parameterization]
    exponential = method.order and name.startswith(("ddim", "dpm_solver", "unipc", "deis", "pndm"))

    def total(gain, start, levels):
        denoise = denoiser({"gain": gain}, 1, kind)
        start = jnp.maximum(levels.sigma[0], 0.1) * start
        states = diffusion.sample(
            jax.random.key(0), denoise, sampler, levels, (2,), jnp.arange(2), start=start, trajectory=True
        )
        predictions = jax.vmap(denoise)(states[:3], jax.tree.map(lambda field: field[:3], levels))
        ddim = levels.alpha[1] * predictions.clean[0] + levels.sigma[1] * predictions.noise[0]
        return jnp.sum(states[-1] ** 2), (states, predictions.clean, ddim)

    cases, stacked = short_grids(with_signal=parameterization == "noise")  # it divides by alpha
    slopes = quickly(jax.vmap(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True), in_axes=(None, None, 0)))
    start = np.array([[1.0, -0.5], [0.3, 2.0]], np.float32)
    (_, (states, clean, ddim)), gradients = jax.device_get(slopes(np.float32(0.7), start, stacked))
    assert np.any(gradients[0] != 0)
    for i, (schedule, n, levels) in enumerate(cases):
        assert all(np.all(np.isfinite(leaf[i])) for leaf in jax.tree.leaves((states, gradients))), (schedule, n)
        # it asks elsewhere than at its state
        if LAST_STEP in method.exact and not (method.name == "reversible_heun" and n > 1):
            scale = max(1.0, np.abs(clean[i, n - 1]).max())
            np.testing.assert_allclose(
                states[i, n] / scale, clean[i, n - 1] / scale, atol=3e-6, err_msg=f"{schedule} {n}"
            )
        if exponential and levels.alpha[0] == 0:
            np.testing.assert_allclose(
                states[i, 1], ddim[i], atol=1e-6, err_msg=f"{schedule} {n}: DDIM where no signal is left"
            )


OWN_LEVELS = (
    "heun",
    "rk4",
    "dpm_solver_multistep 3 sde",
    "dpm_solver_single 2 sde",
    "unipc 3",
    "deis 3 ratio",
    "pndm runge_kutta",
)


def test_each_sample_may_have_levels_of_its_own():
    """Levels (b,): one sample starts without signal, one ends before the others, and none looks at its neighbours."""
    rows = (
        ((900.0, 999.0, 300.0), (0.3, 0.0, 0.8), (0.9, 1.0, 0.6)),
        ((600.0, 700.0, -1.0), (0.5, 0.4, 1.0), (0.8, 0.9, 0.0)),
        ((300.0, 300.0, -1.0), (0.8, 0.8, 1.0), (0.6, 0.6, 0.0)),
    )
    three = [diffusion.Level(*np.array(fields, np.float32)) for fields in rows]
    x, keys = np.array([[1.0, -0.5], [0.3, 2.0], [0.7, 0.1]], np.float32), jax.random.split(jax.random.key(0), 3)

    def two_steps(sampler, x, keys, *levels):
        state, denoise = sampler.init(x), denoiser({"gain": jnp.float32(0.7)}, 1)
        for step, (level, cleaner) in enumerate(zip(levels, levels[1:], strict=False)):
            state = sampler.step(
                sampler.noise_for_step(keys, step, level, cleaner), denoise, state, level, cleaner, 1 - step
            )
        return state.x

    walks = in_numpy(lambda *batch: {name: two_steps(built(name), *batch) for name in OWN_LEVELS})
    together = walks(x, keys, *three)
    for row in range(3):
        alone = walks(*jax.tree.map(lambda leaf: leaf[np.full(3, row)], (x, keys, *three)))  # noqa: B023
        for name in OWN_LEVELS:
            if row < 2 or name != "dpm_solver_multistep 3 sde":  # its noise at a clean end is multiplied by 0
                np.testing.assert_allclose(together[name][row], alone[name][row], atol=5e-6, err_msg=name)


@pytest.mark.float64
def test_the_slope_by_a_number_is_right_where_it_is_zero():
    """By a difference to one side, since noise is not drawn below 0. Churn is left out: its slope there is infinite."""
    levels, normal = diffusion.grids.trailing(SCHEDULE, 3), diffusion.oracles.gaussian(0.5, 0.2)

    def total(name, number):
        ((field, _),) = METHODS[name].numbers
        sampler = dataclasses.replace(built(name), **{field: number})
        return jnp.sum(diffusion.sample(jax.random.key(0), normal, sampler, levels, SHAPE, jnp.arange(2)))

    @in_numpy
    def slopes(numbers):
        names = [name for name in MEMBERS if METHODS[name].numbers and name != "churn"]
        return {name: jax.jvp(jax.vmap(partial(total, name)), (numbers,), (jnp.ones(2),)) for name in names}

    for name, (values, (slope, _)) in slopes(np.array([0.0, 1e-6])).items():
        assert abs(slope) > 1e-3 and slope == pytest.approx((values[1] - values[0]) / 1e-6, rel=1e-3), name


# What tracing alone shows.


def sample_of(name, levels, number=0.5, **options):
    """(index, label) -> samples, not compiled."""
    sampler = dataclasses.replace(built(name), **{field: number for field, _ in METHODS[name].numbers})

    def draw(index, label):
        denoise = denoiser({"gain": jnp.asarray(0.7, levels.sigma.dtype)}, label)
        return diffusion.sample(jax.random.key(0), denoise, sampler, levels, (2, 2, 1), index, **options)

    return draw


TWO = np.arange(2, dtype=np.int32)


@pytest.mark.float64
@table("name", MEMBERS)
def test_the_dtype_stays_under_strict_promotion(name):
    """float64 stays float64, and float32 stays float32 where 64-bit types are allowed; without them the one program
    above is float32.
    """
    levels, start = diffusion.grids.trailing(SCHEDULE, 3), np.ones((2, 2, 2, 1), np.float32)
    with jax.numpy_dtype_promotion("strict"):
        result = jax.eval_shape(sample_of(name, levels, jnp.asarray(0.5)), TWO, TWO)
    assert result.shape == (2, 2, 2, 1) and result.dtype == np.float64
    assert jax.eval_shape(sample_of(name, levels, start=start), TWO, TWO).dtype == np.float32


@table("name", MEMBERS)
def test_a_batch_is_split_over_devices_by_shard_map(name):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, levels = jax.sharding.PartitionSpec("data"), grid(3)

    def split(draw, **check):
        return jax.eval_shape(jax.shard_map(draw, mesh=mesh, in_specs=rows, out_specs=rows, **check), TWO, TWO)

    if METHODS[name].along_path:
        with pytest.raises(TypeError, match="check_vma=False"):
            split(sample_of(name, levels))
        assert split(sample_of(name, levels), check_vma=False).shape == (2, 2, 2, 1)
    else:
        split(sample_of(name, levels))
        if name in ("ddim stochastic", "unipc 3"):  # the other loop over the same steps
            split(
                lambda *rows: jnp.moveaxis(
                    sample_of(name, levels, num_steps=jnp.asarray(2), trajectory=True)(*rows), 1, 0
                )
            )


@pytest.mark.usefixtures("unchecked")
@table("name", COMPILED)
def test_a_program_is_exported_for_any_batch(name):
    (b,) = jax.export.symbolic_shape("b")
    draw, rows = sample_of(name, grid(3)), [jax.ShapeDtypeStruct((b,), jnp.int32)] * 2
    assert jax.eval_shape(draw, *rows).shape == (b, 2, 2, 1)
    if name in LOOPS:
        assert jax.export.export(jax.jit(draw))(*rows).out_avals[0].shape == (b, 2, 2, 1)


# The catalogue.


def test_rebuilt_samplers_are_equal_hash_alike_and_differ_from_their_siblings():
    for name in METHODS:
        assert built(name) == built(name) and hash(built(name)) == hash(built(name))
    assert len({built(name) for name in METHODS}) == len(METHODS)


def test_the_catalogue_holds_every_public_sampler_as_users_call_it():
    public = {
        name: value
        for name, value in vars(diffusion.samplers).items()
        if name in diffusion.samplers.__all__ and callable(value)
    }
    assert set(public) == {name.split()[0] for name in METHODS} | {"stretched"}  # which is any of them, with gains
    for name, method in METHODS.items():
        assert method.name == name and built(name) == eval(method.call, public | {"schedule": SCHEDULE})


samplers, FLOW = diffusion.samplers, diffusion.schedules.flow()
OUTSIDE = (
    (samplers.ddim, "eta", (-0.1, 1.1, np.nan)),
    (samplers.ddpm, "variance", ("larger",)),
    (samplers.euler_ancestral, "eta", (-0.1, np.nan)),
    (samplers.predictor_corrector, "corrector_steps", (-1,)),
    (samplers.predictor_corrector, "snr", (-0.1,)),
    (partial(samplers.fixed_path, samplers.ddpm()), "tolerance", (0.0,)),
    *(
        (partial(samplers.churn, FLOW), field, (-0.1, np.nan))
        for field in ("churn", "churn_min", "churn_max", "churn_noise")
    ),
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
)
test_settings_outside_their_range_are_refused_by_name = pytest.mark.fault("samplers: eta outside [0, 1]")(
    refusals(*((partial(make, **{field: value}), field) for make, field, wrong in OUTSIDE for value in wrong))
)
