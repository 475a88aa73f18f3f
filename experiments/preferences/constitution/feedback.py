"""The network at work on its own answers: it writes them, criticises and revises them, and judges pairs of them."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.preferences import responses
from experiments.preferences.constitution.grammar import PRINCIPLES
from experiments.preferences.constitution.skills import (
    ANSWER,
    CRITICISM,
    CRITIQUE,
    FIRST,
    JUDGE,
    PROMPT,
    RESPONSE,
    REVISE,
    SECOND,
)
from gendiff import networks
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.preferences import constitutional_critique, direct, judging
from gendiff.preferences.constitutional_critique import Revised, RevisionPolicy
from gendiff.runs import devices

BETA, ANCHOR = 0.1, 0.2
"""β of DPO, and the weight of −log p per token of the chosen answers beside DPO's loss."""


class Judged(NamedTuple):
    """What the network says of n pairs.

    probability: (n,) that the first answer is the better one: the mean over principles, both orders averaged.
    one_order: (n,) the same from the order in which the first answer stands first.
    agree: (principles, n) whether both orders prefer the same answer.
    """

    probability: np.ndarray
    one_order: np.ndarray
    agree: np.ndarray


@records.record
class Preferred:
    """Pairs as DPO takes them.

    Attributes:
        chosen: (b, 13) prompts with the preferred answers.
        rejected: (b, 13) with the others.
        reference_chosen: (b,) log-probabilities of the former by the network that is tuned, before it is.
        reference_rejected: (b,) of the latter.
    """

    chosen: Any
    rejected: Any
    reference_chosen: Any
    reference_rejected: Any


@records.record
class PreferenceLoss:
    """DPO, and −log p per token of the chosen answers with a weight, which keeps the network from losing what both
    answers have.
    """

    predict: Any = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Preferred) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics."""
        chosen, rejected = (
            responses.log_probs(self.predict, params, rows, PROMPT) for rows in (batch.chosen, batch.rejected)
        )
        loss, metrics = direct.dpo(chosen, rejected, batch.reference_chosen, batch.reference_rejected, beta=BETA)
        nll = -chosen.mean() / RESPONSE
        return loss + ANCHOR * nll, metrics | {"dpo": loss, "nll": nll}


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two answers of the tuned network to each of n requests, and what the base network says of them."""

    numbers: np.ndarray
    first: np.ndarray
    second: np.ndarray
    judged: Judged

    def labelled(self, least: float, fewest: int) -> np.ndarray:
        """The pairs whose probability is at least so far from one half, and never fewer than `fewest`: those that are
        farthest.
        """
        decided = np.abs(self.judged.probability - 0.5)
        count = max(int(np.sum(decided >= least)), min(fewest, len(decided)))
        return np.sort(np.argsort(-decided, kind="stable")[:count])


def answers(network: networks.LanguageModel, params: Params, key: jax.Array, prompt: np.ndarray) -> np.ndarray:
    """(n, 8) answers to prompts (n, 5), drawn from the network's own distribution."""
    index = np.arange(len(prompt))
    return np.asarray(_answer(network)(params, key, prompt, index))


def revisions(
    network: networks.LanguageModel, params: Params, key: jax.Array, prompt: np.ndarray, rounds: int
) -> Revised:
    """Answers to prompts (n, 5), and what the network makes of them in rounds of its own critique and revision."""
    return jax.device_get(_revise(network, rounds)(params, key, prompt, np.arange(len(prompt))))


def judgements(
    network: networks.LanguageModel, params: Params, prompt: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Judged:
    """What the network says of pairs of answers (n, 8) to prompts (n, 5)."""
    return Judged(*jax.device_get(_judge(network)(params, prompt, first, second)))


def log_probs(network: networks.LanguageModel, params: Params, rows: np.ndarray) -> np.ndarray:
    """(n,) log-probability of the answer of each row (n, 13)."""
    return np.asarray(_log_probs(network)(params, rows))


def policy(network: networks.LanguageModel, params: Params) -> RevisionPolicy:
    """The network in three roles. Answers are drawn; critiques and revisions are its likeliest ones."""

    def answer(key: jax.Array, prompt: jax.Array, index: jax.Array) -> jax.Array:
        return responses.write(network, params, key, prompt, index, RESPONSE, temperature=1.0).tokens

    def critique(
        key: jax.Array, prompt: jax.Array, draft: jax.Array, principle: jax.Array, index: jax.Array
    ) -> jax.Array:
        question = jnp.concatenate([prompt, draft, CRITIQUE + principle[:, None]], 1)
        return responses.write(network, params, key, question, index, CRITICISM, temperature=0.0).tokens

    def revise(
        key: jax.Array,
        prompt: jax.Array,
        draft: jax.Array,
        criticism: jax.Array,
        principle: jax.Array,
        index: jax.Array,
    ) -> jax.Array:
        tag = jnp.full_like(principle, REVISE)[:, None]
        question = jnp.concatenate([prompt, draft, CRITIQUE + principle[:, None], criticism, tag], 1)
        return responses.write(network, params, key, question, index, RESPONSE, temperature=0.0).tokens

    return RevisionPolicy(answer, critique, revise)


def preferred(
    network: networks.LanguageModel,
    params: Params,
    prompt: jax.Array,
    first: jax.Array,
    second: jax.Array,
    principle: jax.Array,
) -> judging.Labels:
    """The network's labels of pairs by one principle (), asked in both orders."""
    predict = networks.pure(network)

    def judge(one: jax.Array, other: jax.Array) -> jax.Array:
        between, tag = (
            jnp.broadcast_to(jnp.asarray(word, jnp.int32), (prompt.shape[0], 1)) for word in (ANSWER, JUDGE + principle)
        )
        logits = predict(params, jnp.concatenate([prompt, one, between, other, tag], 1), None, False).logits
        return logits[:, FIRST] - logits[:, SECOND]

    return judging.labels(judge, first, second)


@functools.lru_cache(maxsize=2)
def _answer(network: networks.LanguageModel) -> Any:
    def answer(params: Params, key: jax.Array, prompt: jax.Array, index: jax.Array) -> jax.Array:
        return responses.write(network, params, key, prompt, index, RESPONSE, temperature=1.0).tokens

    return devices.jit(answer, libraries=False)


@functools.lru_cache(maxsize=2)
def _revise(network: networks.LanguageModel, rounds: int) -> Any:
    principles = np.arange(len(PRINCIPLES), dtype=np.int32)

    def revise(params: Params, key: jax.Array, prompt: jax.Array, index: jax.Array) -> Revised:
        return constitutional_critique.critique_and_revise(
            key, policy(network, params), principles, prompt, index, rounds=rounds
        )

    return devices.jit(revise, libraries=False)


@functools.lru_cache(maxsize=2)
def _judge(network: networks.LanguageModel) -> Any:
    def judge(params: Params, prompt: jax.Array, first: jax.Array, second: jax.Array) -> tuple[jax.Array, ...]:
        principles = jnp.arange(len(PRINCIPLES), dtype=jnp.int32)
        preferences_by_principle = jax.lax.map(
            lambda principle: preferred(network, params, prompt, first, second, principle), principles
        )
        return (
            jnp.mean(preferences_by_principle.probability, 0),
            jnp.mean(jax.nn.sigmoid(preferences_by_principle.one_order), 0),
            preferences_by_principle.agree,
        )

    return devices.jit(judge, libraries=False)


@functools.lru_cache(maxsize=2)
def _log_probs(network: networks.LanguageModel) -> Any:
    return devices.jit(functools.partial(responses.log_probs, networks.pure(network), first=PROMPT), libraries=False)
