"""The loss of next tokens beside its formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from gendiff import language
from gendiff.language import objective
from tests.language import rig
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

TOKENS = rig.padded([[3, 1, 4, 1, 5, 9], [2, 6, 5], [3, 5, 8, 9]], 7)
BYTES = np.random.default_rng(0).integers(1, 6, TOKENS.shape)
WEIGHT = np.random.default_rng(1).integers(0, 2, TOKENS.shape) * np.random.default_rng(2).random(TOKENS.shape)
SEED = 0
TABLE = rig.markov(10).table


def PREDICT(params, tokens):  # noqa: N802
    return (params[jnp.maximum(tokens, 0)],)


program = quickly(
    lambda loss, params, batch: jax.value_and_grad(loss, has_aux=True)(params, jax.random.key(SEED), batch)
)


def run(*arguments):
    return rig.on_host(program(*arguments))


def by_formula(weight):
    logits = np.asarray(TABLE, np.float64)[np.maximum(TOKENS, 0)][:, :-1]
    normaliser, target = scipy.special.logsumexp(logits, axis=2), TOKENS[:, 1:]
    surprise = normaliser - np.take_along_axis(logits, np.maximum(target, 0)[..., None], 2)[..., 0]
    weight = np.where(target >= 0, weight[:, 1:], 0)
    return {
        "nll": (weight * surprise).sum() / weight.sum(),
        "accuracy": (weight * (logits.argmax(2) == target)).sum() / weight.sum(),
        "bits_per_byte": (weight * surprise).sum() / (weight * BYTES[:, 1:]).sum() / np.log(2),
        "log² Z": (weight * normaliser**2).sum() / weight.sum(),
    }


@table("weight", [None, WEIGHT])
def test_loss_and_metrics_are_those_of_the_formula(weight):
    expected = by_formula(np.ones(TOKENS.shape) if weight is None else weight)
    (loss, metrics), _ = run(objective.next_token(PREDICT, z_loss=0.1), TABLE, language.Texts(TOKENS, weight, BYTES))
    np.testing.assert_allclose(loss, expected["nll"] + 0.1 * expected.pop("log² Z"), rtol=2e-5)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-5)


def test_packed_texts_cost_what_they_cost_alone():
    real = TOKENS >= 0
    # ids need not rise
    segments = np.broadcast_to(np.roll(np.arange(len(TOKENS)), 1)[:, None], TOKENS.shape)[real][None]

    def predict(params, tokens, cache, every, segments):
        assert cache is None and every and segments.shape == tokens.shape
        return PREDICT(params, tokens)

    expected = by_formula(np.ones(TOKENS.shape))
    (_, metrics), _ = run(
        objective.next_token(predict), TABLE, language.Texts(TOKENS[real][None], None, BYTES[real][None], segments)
    )
    for name in ("nll", "accuracy", "bits_per_byte"):
        np.testing.assert_allclose(metrics[name], expected[name], rtol=2e-5)


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary_and_no_target_costs_nothing():
    loss = objective.next_token(PREDICT)
    np.testing.assert_allclose(run(loss, 0 * TABLE, language.Texts(TOKENS))[0][0], np.log(10), rtol=1e-6)
    (value, _), gradient = run(loss, TABLE, language.Texts(np.full_like(TOKENS, -1)))
    assert value == 0 and not gradient.any()


def test_a_gradient_sees_no_target_without_weight():
    """Logits of NaN there would else make the whole gradient NaN."""

    weight = np.where(np.pad(TOKENS, ((0, 0), (1, 0)))[:, :-1] == 1, 0.0, 1.0)
    broken = np.where(np.arange(10)[:, None] == 1, np.float32(np.nan), TABLE)
    _, gradient = run(objective.next_token(PREDICT), broken, language.Texts(TOKENS, weight, BYTES))
    assert np.isfinite(gradient).all()


test_what_does_not_fit_is_refused = refusals(
    (lambda: objective.next_token(PREDICT, z_loss=-1.0), "z_loss = -1 is outside"),
    (lambda: objective.next_token(PREDICT)({}, jax.random.key(SEED), TOKENS), "pass language.Texts", TypeError),
    (
        lambda: objective.next_token(PREDICT)({}, jax.random.key(SEED), language.Texts(TOKENS[:, :1])),
        "at least two tokens",
    ),
    (
        lambda: objective.next_token(PREDICT)({}, jax.random.key(SEED), language.Texts(TOKENS, WEIGHT[:, 1:])),
        "weight has shape",
    ),
    (
        lambda: objective.next_token(PREDICT)({}, jax.random.key(SEED), language.Texts(TOKENS, segments=TOKENS[:1])),
        "segments has shape",
    ),
)
