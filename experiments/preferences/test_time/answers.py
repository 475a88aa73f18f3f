"""What trained networks answer to sums: samples, the likeliest answers, and answers after a forced budget of
scratch-work.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.preferences.test_time import train
from experiments.preferences.test_time.config import Config
from experiments.preferences.test_time.train import Arm
from experiments.tasks import addition
from experiments.tasks.addition import SumFormat
from gendiff import language, networks
from gendiff.core.types import Params
from gendiff.language import processors
from gendiff.runs import devices, vmapped_seeds
from gendiff.runs.run_folder import RunFolder

DRAWN = np.uint32(2**32 - 6)
"""What the key of sampled answers folds into key(0): none of a training does."""
FREE = 2**30
"""A budget that nothing reaches."""


@dataclass(frozen=True)
class Budget:
    """Tokens of scratch-work, at least and at most."""

    least: int
    most: int


def full_budget(config: Config, kind: str) -> Budget:
    """What a kind of text was trained for: all scratch-work, or no end of it to force."""
    tokens = train.written(config, kind).scratch_length
    return Budget(tokens, tokens) if tokens else Budget(0, FREE)


def budgets(config: Config) -> tuple[int, ...]:
    """Tokens of scratch-work to which it is forced: none, one place, …, all places, and some more."""
    return tuple(range(0, 2 * (config.digits + train.EXTRA) + 1, 2))


def new_tokens(config: Config, kind: str, thought: int | None = None) -> int:
    """Tokens behind a question, with scratch-work of `thought` tokens; None: as much as there is."""
    written_as = train.written(config, kind)
    return written_as.length - written_as.prompt_length if thought is None else thought + 1 + written_as.answer_length


def sampled(config: Config, kind: str, width: int, params: Params, pairs: np.ndarray, count: int) -> np.ndarray:
    """(n, count) numbers that one network's samples at temperature 1 give; sample j of a question is the same whatever
    the count.
    """
    return _asked(config, kind, width, params, pairs, count, 1.0, full_budget(config, kind))


def likeliest(
    config: Config, kind: str, width: int, params: Params, pairs: np.ndarray, budget: Budget | None = None
) -> np.ndarray:
    """(n,) numbers by always taking the likeliest next token."""
    return _asked(config, kind, width, params, pairs, 1, 0.0, budget or full_budget(config, kind))[:, 0]


def of_seeds(config: Config, folder: RunFolder, arm: Arm, ask: Callable[[Params], np.ndarray]) -> np.ndarray:
    """(seeds, …) of what the network of each seed is asked."""
    params = train.restore(config, folder, arm)
    return np.stack([ask(vmapped_seeds.of_seed(params, at)) for at in range(len(config.seeds))])


def _asked(
    config: Config,
    kind: str,
    width: int,
    params: Params,
    pairs: np.ndarray,
    count: int,
    temperature: float,
    budget: Budget,
) -> np.ndarray:
    written_as = train.written(config, kind)
    new = new_tokens(config, kind, max(budget.most, written_as.scratch_length) if written_as.scratch else None)
    draw = functools.partial(
        _program(train.network(config, width), written_as.prompt_length), params, written_as.prompts(pairs)
    )
    samples = [draw(number, temperature, budget.least, budget.most, new) for number in range(count)]
    return np.stack([written_as.read(np.asarray(tokens)) for tokens in samples], 1)


@functools.lru_cache(maxsize=4)
def _program(network: networks.LanguageModel, prompt: int) -> Any:
    """(params, prompts (n, p), number, temperature, least, most, tokens) -> (n, most tokens) of candidate `number`.

    It serves every kind of text and count, and draws candidates as `preferences.candidates` does: each from a key of
    its own.
    """
    predict, room = networks.pure(network), network.context - prompt

    def run(
        params: Params, prompts: jax.Array, number: Any, temperature: Any, least: Any, most: Any, tokens: Any
    ) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), DRAWN), number)
        model, cache = (
            language.from_network(predict, params),
            language.cache.full(network, prompts.shape[0], network.context),
        )
        forced = language.budget_forcing(addition.EQUALS, least=least, most=most)
        options: dict[str, Any] = {
            "processor": processors.chain(forced, processors.temperature(temperature)),
            "num_tokens": tokens,
        }
        return language.generate(
            key, model, cache, prompts, jnp.arange(prompts.shape[0]), max_tokens=room, **options
        ).tokens

    return devices.jit(run, libraries=False)


def as_text(config: Config, pairs: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(n, s) tokens of questions with direct answers; "=" stands for each digit of an answer that could not be read."""
    sums_format = SumFormat(config.digits)
    digits = np.where(answers[:, None] >= 0, sums_format.digits_of(np.maximum(answers, 0)), addition.EQUALS)
    return np.concatenate([sums_format.prompts(pairs), digits], 1).astype(np.int32)
