"""The networks: a policy over symbols with its exact law, a critic, a reward model, and what `policy_step` asks of
them.
"""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.preferences.rlhf import task
from experiments.preferences.rlhf.config import Config
from gendiff import language, networks, preferences
from gendiff.core.types import Params
from gendiff.language import processors, scoring
from gendiff.preferences.rollouts import Rollout

POLICY, CRITIC = "policy", "critic"
"""Parts of what learns."""
PREFIXES = task.SYMBOLS ** (task.LENGTH - 1)


def policy(config: Config) -> networks.LanguageModel:
    """The network that writes. Places are learned, for all answers have one length."""
    sizes: dict[str, Any] = {
        "width": config.width,
        "depth": config.depth,
        "heads": config.heads,
        "mlp_width": 2 * config.width,
    }
    return networks.LanguageModel(vocabulary=task.VOCABULARY, context=task.LENGTH + 1, positions="learned", **sizes)


def scalar(config: Config) -> networks.LanguageModel:
    """The network of critic and reward model: the same with one number per token."""
    return policy(config).clone(head="scalar")


def symbols_only(*further: processors.Processor) -> processors.Chain:
    """What stands between the policy's logits and its law: prompts are no symbols."""
    return processors.chain(processors.banned(np.arange(task.SYMBOLS, task.VOCABULARY)), *further)


def law(network: networks.LanguageModel, params: Params) -> jax.Array:
    """(4, 512) log-probabilities of all answers, from all 256 texts without a last symbol."""
    logits = networks.pure(network)(params, _prefixes()).logits[..., : task.SYMBOLS]
    steps = jax.nn.log_softmax(logits, 2).reshape(task.PROMPTS, task.SYMBOLS, task.SYMBOLS, task.LENGTH, task.SYMBOLS)
    # the last axis is what comes next
    joint = steps[:, 0, 0, 0][:, :, None, None] + steps[:, :, 0, 1][..., None] + steps[:, :, :, 2]
    return joint.reshape(task.PROMPTS, task.ANSWERS)


def scores(network: networks.LanguageModel, params: Params, tokens: Any) -> jax.Array:
    """(…) what a reward model answers to texts (…, 4), read after their last token."""
    flat = jnp.asarray(tokens).reshape(-1, tokens.shape[-1])
    return networks.pure(network)(params, flat, None, False).logits.reshape(tokens.shape[:-1])


def all_scores(network: networks.LanguageModel, params: Params) -> jax.Array:
    """(4, 512) of all answers."""
    prompts, answers = np.indices((task.PROMPTS, task.ANSWERS))
    return scores(network, params, task.texts(prompts, answers))


@dataclass(frozen=True)
class Actor:
    """The functions of `policy_step` for these networks. without_critic: GRPO's, whose parameters hold a policy
    alone.
    """

    network: networks.LanguageModel
    without_critic: bool = False

    @property
    def _predict(self) -> Any:
        return networks.pure(self.network)

    @property
    def _number(self) -> Any:
        return networks.pure(self.network.clone(head="scalar"))

    def roll(self, params: Params, key: jax.Array, prompts: jax.Array) -> Rollout:
        """An answer to each of the prompts (b,), which are tokens."""
        count = prompts.shape[0]
        model, cache = (
            language.from_network(self._predict, params[POLICY]),
            language.cache.full(self.network, count, task.LENGTH + 1),
        )
        options: dict[str, Any] = {"max_tokens": task.LENGTH, "processor": symbols_only(), "chunk": 1}
        written = language.generate(key, model, cache, prompts[:, None], jnp.arange(count), **options)
        return preferences.rollouts.rollout(written.tokens, written.log_probs, written.tokens >= 0, prompts)

    def evaluate(self, params: Params, rollout: Rollout) -> tuple[jax.Array, Any]:
        """Log-probabilities of the symbols, and what the critic expects before each: its answer to the token in
        front.
        """
        tokens = _tokens(rollout)
        log_probs = scoring.sampled_log_probs(self._predict, params[POLICY], tokens, 1, symbols_only())
        return log_probs, None if self.without_critic else self._number(params[CRITIC], tokens[:, :-1]).logits

    def score(self, reward: tuple[Params, Any], rollout: Rollout) -> jax.Array:
        """What a reward model, (parameters, normaliser), says of the answers."""
        params, normalise = reward
        return normalise(scores(self.network.clone(head="scalar"), params, _tokens(rollout)))


def _tokens(rollout: Rollout) -> jax.Array:
    return jnp.concatenate([rollout.context[:, None], rollout.actions], 1)


@functools.cache
def _prefixes() -> np.ndarray:
    """(256, 3) tokens of each prompt with its first symbols, in the order of the numbers of answers."""
    prompts, prefixes = np.indices((task.PROMPTS, PREFIXES)).reshape(2, -1)
    return task.texts(prompts, prefixes * task.SYMBOLS)[:, : task.LENGTH]
