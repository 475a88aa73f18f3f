"""Known mistakes of instruction tuning and PPO, planted one by one beside the right code, and the check that tells them
apart.

Four checks: log-probabilities of rollout and first pass agree; the policy gradient, summed over all answers, is the
exact one; nothing depends on what padding holds; and the library's checker of instruction batches finds nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.preferences.rlhf import policies, task
from experiments.preferences.rlhf.config import Config
from gendiff import language, networks
from gendiff.language import processors, scoring
from gendiff.preferences import advantages, instruction, kl_estimates, policy_gradient, rollouts
from gendiff.runs import devices
from tests.quickly import quickly

CONFIG = Config(width=8, depth=1, heads=2)
RIGHT = "as it should be"
KEY = np.uint32(2**32 - 7)
"""What key(0) is folded with for the rollouts and the critic of the checks."""
ROLLED, WARM, CUT = 256, 1.5, 3
"""Answers, temperature and top-k of the first check."""
END = task.VOCABULARY
"""A token that ends answers, for the checker of batches."""


def caught(numbers, limit):
    """The right code passes, and no mistake does."""
    assert numbers.pop(RIGHT) <= limit
    assert len(numbers) >= 2 and all(number > limit for number in numbers.values()), numbers


@pytest.fixture(scope="module")
def params():
    fresh = networks.init(policies.policy(CONFIG), jax.random.key(0), np.zeros((1, 2), np.int32))
    return jax.tree.map(lambda leaf: 3 * leaf, fresh)


def test_log_probabilities_of_another_law_than_the_rollout_s_differ_from_its_own(params):
    network, key = policies.policy(CONFIG), jax.random.fold_in(jax.random.key(0), KEY)
    caught(
        {name: float(number) for name, number in quickly(lambda params: ratios(network, params, key))(params).items()},
        1e-5,
    )


def ratios(network, params, key):
    predict, warm, cut = networks.pure(network), processors.temperature(WARM), processors.top_k(CUT)
    prompts = jnp.asarray(task.SYMBOLS + np.arange(ROLLED) % task.PROMPTS, jnp.int32)[:, None]
    model, cache = language.from_network(predict, params), language.cache.full(network, ROLLED, task.LENGTH + 1)
    options = {"max_tokens": task.LENGTH, "processor": policies.symbols_only(warm, cut)}
    written = language.generate(key, model, cache, prompts, jnp.arange(ROLLED), **options)
    tokens = jnp.concatenate([prompts, written.tokens], 1)

    def difference(*further):
        again = scoring.sampled_log_probs(predict, params, tokens, 1, policies.symbols_only(*further))
        return jnp.max(jnp.abs(again - written.log_probs))

    return {
        RIGHT: difference(warm, cut),
        "temperature in the rollout alone": difference(cut),
        "top-k in the rollout alone": difference(warm),
    }


@pytest.mark.slow
def test_gradients_of_a_mistaken_loss_are_not_the_exact_ones(params):
    with devices.compiled_quickly():
        caught(gradients(params, task.gold(), jax.random.fold_in(jax.random.key(0), KEY)), 1e-3)


def gradients(params, rewards, key):
    """Relative distance of each gradient from the exact one. The reference draws every symbol equally often."""
    texts = task.texts(*np.indices((task.PROMPTS, task.ANSWERS))).reshape(-1, task.LENGTH + 1)
    network, scalar = policies.policy(CONFIG), policies.scalar(CONFIG)
    critic = networks.init(scalar, jax.random.fold_in(key, 1), texts)
    rewards, beta = jnp.asarray(rewards.reshape(-1), jnp.float32), CONFIG.beta
    base = jnp.full((len(texts), task.LENGTH), -np.log(task.SYMBOLS), jnp.float32)

    def answered(params):
        return scoring.sampled_log_probs(networks.pure(network), params, texts, 1, policies.symbols_only())

    def exact(log_probs):
        law = jnp.sum(log_probs, 1)
        return -jnp.sum(jnp.exp(law) * (rewards - beta * (law + np.log(task.ANSWERS)))) / task.PROMPTS

    def surrogate(log_probs, values, shift, position, in_loss):
        mask, old = jnp.ones_like(log_probs), jax.lax.stop_gradient(log_probs)
        shaped = advantages.shaped_rewards(jnp.zeros(len(texts)), old, base, mask, (1 - in_loss) * beta)
        shaped += rewards[:, None] * (jnp.arange(task.LENGTH)[None] == position)
        estimates = advantages.gae(
            shaped, jnp.where(shift > 0, values[:, 1:], values[:, :-1]), mask, gamma=1.0, lam=1.0
        ).advantages
        # a mean over all answers becomes one under the law
        weight = jnp.exp(jnp.sum(old, 1, keepdims=True)) * (task.LENGTH * task.ANSWERS)
        loss, _ = policy_gradient.clipped_policy_gradient(log_probs, old, weight * estimates, mask, 0.2)
        return loss + in_loss * beta * jnp.mean(weight * kl_estimates(log_probs, base, mask).k3)

    last = task.LENGTH - 1
    ways = {RIGHT: (0, last, 0), "value index shifted by one": (1, last, 0), "score at the first step": (0, 0, 0)}
    ways["penalty as k3 in the loss"] = (0, last, 1)

    def distances(params):
        log_probs, back = jax.vjp(answered, params)
        values = networks.pure(scalar)(critic, texts).logits
        each = jax.vmap(lambda way: jax.grad(surrogate)(log_probs, values, *way))(
            jnp.array(list(ways.values()), jnp.float32)
        )
        expected, *slopes = jax.vmap(lambda slope: flat(back(slope)))(
            jnp.concatenate([jax.grad(exact)(log_probs)[None], each])
        )
        return jnp.linalg.norm(jnp.stack(slopes) - expected[None], axis=1) / jnp.linalg.norm(expected)

    return dict(zip(ways, devices.jit(distances)(params).tolist(), strict=True))


def flat(tree):
    return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(tree)])


def test_mistakes_that_read_padding_change_with_what_it_holds():
    caught(paddings(), 1e-5)


def paddings():
    """The largest change of advantages where the policy acted, when padding holds 3, 6, 9 and 12 in place of 0."""
    rng = np.random.default_rng(task.SEED)
    lengths = np.array([6, 2, 4, 1, 3, 5])
    mask = jnp.asarray(np.arange(6)[None] < lengths[:, None], jnp.float32)
    arrays = [rng.normal(size=(6, 6)).astype(np.float32) for _ in range(4)]

    def raw(scored, log_probs, reference, values, *, last=False, everywhere=False):
        scores = scored[:, -1] if last else rollouts.at_last(scored, mask)
        rewards = advantages.shaped_rewards(
            scores, log_probs, reference, jnp.ones_like(mask) if everywhere else mask, 0.5
        )
        # penalties behind the end are charged to the last step, as sums over whole rows do
        behind = jnp.sum(jnp.where(mask == 0, rewards, 0), 1) if everywhere else jnp.zeros(len(lengths))
        rewards = rewards + jnp.where(jnp.arange(6)[None] == lengths[:, None] - 1, behind[:, None], 0)
        return advantages.gae(rewards, values, mask, gamma=1.0, lam=0.95).advantages

    def over_all(*held):
        normalised = jnp.where(mask != 0, raw(*held), held[3])
        return (normalised - jnp.mean(normalised)) / jnp.std(normalised)

    def ways(pad):
        held = [jnp.where(mask != 0, values, pad * number) for number, values in enumerate(arrays, 1)]
        whitened, without = advantages.whitened(raw(*held), mask), over_all(*held)
        variants = [whitened, without, raw(*held, last=True), raw(*held, everywhere=True)]
        return [jnp.where(mask != 0, each, 0) for each in variants]

    names = (RIGHT, "whitening over padding", "score read at the last column", "KL charged behind the end")
    run = devices.jit(ways)
    one, other = run(0.0), run(3.0)
    return {name: float(np.abs(np.subtract(a, b)).max()) for name, a, b in zip(names, one, other, strict=True)}


def test_the_checker_finds_each_mistaken_batch_and_nothing_in_right_ones():
    caught(batches(), 0.5)


def batches():
    """How many findings the checker has of each batch."""
    prompts = [[task.SYMBOLS + number % task.PROMPTS] for number in range(6)]
    answers = [task.strings()[number * 37][: 1 + number % task.LENGTH].tolist() for number in range(6)]
    rows = instruction.rows(prompts, answers, end=END, length=8)
    ended = instruction.rows(prompts, answers, end=END, length=8, pad=END)

    def findings(values, weight, pad=instruction.PADDING):
        return float(len(instruction.findings(values.tokens, weight, end=END, pad=pad)))

    return {
        RIGHT: findings(rows, rows.weight) + findings(ended, ended.weight, END),
        "PAD = EOS, masked by its id": findings(
            ended, np.where(ended.tokens == END, 0, ended.weight).astype(np.float32), END
        ),
        "weights shifted by one": findings(rows, np.roll(rows.weight, 1, axis=1)),
        "loss on padding": findings(rows, np.ones_like(rows.weight)),
    }
