"""A student that is told the scale imitates the guided teacher, and begins as the conditional one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.diffusion import denoiser, distillation, guidance, parameterization, schedules
from gendiff.diffusion.types import Batch
from tests.diffusion.distillation.catalogue import linear
from tests.networks.rig import LABEL, T, X, apply, dit, drawn_of, random_params, small_unet
from tests.quickly import in_numpy
from tests.refusals import refusals

FLOW, VELOCITY, NULL = schedules.flow(), parameterization.velocity(), 7
BATCH = Batch(jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32), (jnp.array([0, 1, 2, 3, 4]),))


def student(params, x, t, label, scale):
    """What linear guidance makes of `linear`."""
    return params * x + (NULL + scale.scale * (label - NULL)).astype(x.dtype)[:, None]


def value_of(predict=student, batch=BATCH, params=0.5, **options):
    loss = distillation.guidance_distillation(predict, FLOW, VELOCITY, **{"null": NULL} | options)
    return loss(params, jax.random.key(0), batch, denoiser.from_network(linear, 0.5, VELOCITY))[0]


@pytest.mark.float64
def test_the_exact_student_has_no_loss_and_one_that_counts_scales_as_the_paper_has(float64):
    def shifted(params, x, t, label, scale):
        return student(params, x, t, label, networks.GuidanceScale(scale.scale + 1))

    @in_numpy
    def values(batch):
        mistakes = (
            {"predict": shifted},
            {"null": NULL + 1},
            {"rule": lambda conditional, unconditional, scale: conditional},
        )
        return value_of(batch=batch), [value_of(batch=batch, **mistake) for mistake in mistakes]

    exact, others = values(Batch(jnp.asarray(BATCH.clean, float), BATCH.condition))
    assert exact < 1e-24 and all(other > 1 for other in others)


@pytest.mark.float64
def test_the_student_may_answer_in_another_form_than_the_teacher(float64):
    """The clean sample of velocity v is alpha x - sigma v, with x of unit length here: alpha² + sigma² = 1 on a cosine
    path.
    """
    path, batch = schedules.cosine(20), Batch(jnp.asarray(BATCH.clean, float), BATCH.condition)

    def clean(params, x, t, label, scale):
        level = jax.tree.map(lambda field: jnp.asarray(field)[t.astype(int)][:, None], path.table)
        return level.alpha * x - level.sigma * student(params, x, t, label, scale)

    loss = distillation.guidance_distillation(clean, path, parameterization.clean(), null=NULL)
    assert in_numpy(loss)(0.5, jax.random.key(0), batch, denoiser.from_network(linear, 0.5, VELOCITY, 0))[0] < 1e-24


def seen_by_rule(batch=BATCH, **options):
    """(conditional, unconditional, scales) as the rule gets them."""
    calls = []

    def rule(*call):
        calls.append(call)
        return guidance.classifier_free(*call)

    @in_numpy
    def run(batch):
        value_of(batch=batch, rule=rule, **options)
        return calls[0]

    return run(batch)


def test_at_scale_1_the_target_is_the_conditional_teacher_bit_for_bit():
    conditional, unconditional, scale = seen_by_rule(scales=(1.0, 1.0))
    np.testing.assert_array_equal(scale, 1)
    level = FLOW.at(jnp.linspace(0.1, 1.0, 5))

    @in_numpy
    def predictions(*pair):
        return [denoise(BATCH.clean, level) for denoise in (guidance.classifier_free(*pair, scale), *pair)]

    guided, plain, other = predictions(conditional, unconditional)
    jax.tree.map(np.testing.assert_array_equal, guided, plain)
    assert np.any(other.clean != plain.clean)


def test_scales_are_uniform_and_the_student_is_told_those_of_the_teacher():
    conditions = []

    def spy(params, x, t, label, scale):
        conditions.append(scale.scale)
        return x

    def rule(conditional, unconditional, scale):
        conditions.append(scale)
        return conditional

    @in_numpy
    def run(batch):
        value_of(spy, batch, rule=rule, scales=(2.0, 6.0))
        return conditions

    scale, heard = run(Batch(jnp.zeros((4000, 1)), (jnp.zeros(4000, int),)))
    np.testing.assert_array_equal(heard, scale)
    counts, _ = np.histogram(scale, bins=4, range=(2, 6))
    assert counts.sum() == 4000 and np.all(np.abs(counts - 1000) < 5 * np.sqrt(750))


def test_any_rule_of_guidance_will_do_also_in_one_call():
    rules = (
        guidance.classifier_free,
        functools.partial(guidance.classifier_free, batched=True),
        guidance.adaptive_projected,
    )
    separate, together, projected = in_numpy(lambda params: [value_of(params=params, rule=rule) for rule in rules])(0.1)
    assert float(together) == pytest.approx(float(separate), rel=1e-5)
    assert float(projected) != pytest.approx(float(separate), rel=1e-2)


def test_a_condition_with_null_None_is_the_same_on_both_sides():
    calls, batch = [], Batch(BATCH.clean, (BATCH.condition[0], BATCH.condition[0] + 10))

    def rule(conditional, unconditional, scale):
        calls.append((conditional.condition, unconditional.condition))
        return conditional

    def predict(params, x, *rest):
        return x

    loss = distillation.guidance_distillation(predict, FLOW, VELOCITY, null=(NULL, None), rule=rule)

    @in_numpy
    def run(batch):
        loss(0.0, jax.random.key(0), batch, denoiser.from_network(predict, 0.5, VELOCITY))
        return calls[0]

    conditional, (null, unchanged) = run(batch)
    jax.tree.map(np.testing.assert_array_equal, conditional, batch.condition)
    assert null == NULL
    np.testing.assert_array_equal(unchanged, batch.condition[1])


@pytest.mark.parametrize("build", [small_unet, dit])
def test_a_student_begins_as_its_teacher_at_every_scale_and_hears_the_scale_once_it_has_learnt(build):
    teacher, network = build(), build(guidance=True)
    scale = networks.GuidanceScale(np.array([1.0, 3.0, 8.0], np.float32))
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL, scale))
    teacher_params, learnt = random_params(teacher, X, T, LABEL), drawn_of(shapes)
    quiet = {
        "kernel": 0 * learnt["embedding"]["guidance_1"]["kernel"],
        "bias": 0 * learnt["embedding"]["guidance_1"]["bias"],
    }
    fresh = learnt | {"embedding": learnt["embedding"] | {"guidance_1": quiet}}
    assert jax.tree.structure(shapes) == jax.tree.structure(fresh)
    student = distillation.init_from_teacher(fresh, teacher_params)
    plain = apply(networks.pure(teacher), teacher_params, X, T, LABEL)
    np.testing.assert_allclose(apply(networks.pure(network), student, X, T, LABEL, scale), plain, rtol=1e-5, atol=1e-5)
    student_value, other = (
        apply(networks.pure(network), learnt, X, T, LABEL, networks.GuidanceScale(scale.scale + [0, up, 0]))
        for up in (0, 1)
    )
    assert [bool(np.abs(sample).max() > 1e-5) for sample in np.asarray(student_value - other)] == [False, True, False]


def test_the_layer_that_hears_the_scale_starts_at_0():
    embedding = networks.embeddings.Embedding(8, 4)
    params = networks.init(embedding, jax.random.key(0), T, None, None, T)
    assert (
        not np.any(params["guidance_1"]["kernel"])
        and np.any(params["guidance_0"]["kernel"])
        and np.any(params["time_1"]["kernel"])
    )


def traced(**options):
    return jax.eval_shape(lambda: value_of(**options))


def build(**options):
    return lambda: distillation.guidance_distillation(student, FLOW, options.pop("kind", VELOCITY), **options)


test_what_means_nothing_is_refused = refusals(
    (build(scales=(-1.0, 2.0)), r"scales\[0\] = -1"),
    (build(scales=(3.0, 2.0)), r"scales\[0\] = 3 is outside \[0, 2\]"),
    (build(scales=(1.0, float("inf"))), r"scales\[1\] = inf"),
    (build(kind=parameterization.noise()), "noise prediction divides by alpha"),
    (lambda: traced(batch=Batch(BATCH.clean)), "the batch has no condition"),
    (lambda: traced(batch=BATCH.clean), "pass diffusion.Batch", TypeError),
    (lambda: traced(null=(NULL, NULL)), "2 null conditions for 1 conditions"),
    (
        lambda: distillation.with_condition(guidance.autoguidance, (1,)),
        "has 1 conditions, and a function takes none",
        TypeError,
    ),
    (
        lambda: distillation.init_from_teacher({"a": jnp.ones(2)}, {"b": jnp.ones(2)}),
        "no room for 1 arrays of the teacher, such as b",
    ),
    (lambda: distillation.init_from_teacher({"a": jnp.ones(2)}, {"a": jnp.ones(3)}), r"such as a of shape \(3,\)"),
)
