"""What trained networks answer to held-out sums, and the metrics of it, sharp ones and smooth ones."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.scaling.emergence import train
from experiments.scaling.emergence.train import Config
from experiments.tasks.addition import SumFormat
from gendiff import language, networks
from gendiff.core.types import Params
from gendiff.language import processors
from gendiff.runs import devices, vmapped_seeds
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import emergence

DRAWN = np.uint32(2**32 - 5)
"""What the key of sampled answers folds into key(0): none of a training does."""


@dataclass(frozen=True)
class Scores:
    """Of one size and seed. n held-out sums with k digits per answer.

    exact: (n,) whether the likeliest answer is right. digits: (n,) share of its digits that are. edits: (n,) its edit
        distance.
    log_probs: (n, k) of each right digit, after the question and the right digits before it. brier: (n,) mean over
        digits.
    right: sampled answers that are right, of `sampled`.
    """

    exact: np.ndarray
    digits: np.ndarray
    edits: np.ndarray
    log_probs: np.ndarray
    brier: np.ndarray
    right: int
    sampled: int

    @property
    def chance(self) -> np.ndarray:
        """(n,) of the whole right answer: the product of the chances of its digits."""
        return np.exp(-emergence.answer_nll(self.log_probs))

    @property
    def z(self) -> float:
        """Of sampled answers that are right, against the sum of their chances; 0 where no other number could have
        come.
        """
        return self._z(self.chance)

    @property
    def z_without_a_digit(self) -> float:
        """The same with a mask that leaves out the digit which is hardest on average: what a wrong mask would do."""
        hardest = int(np.argmin(self.log_probs.mean(0)))
        others = np.broadcast_to(np.arange(self.log_probs.shape[1]) != hardest, self.log_probs.shape)
        return self._z(np.exp(-emergence.answer_nll(self.log_probs, others)))

    def _z(self, chance: np.ndarray) -> float:
        each = self.sampled / len(chance)
        off, variance = self.right - each * chance.sum(), each * (chance * (1 - chance)).sum()
        if variance > 0:
            return float(off / np.sqrt(variance))
        return 0.0 if off == 0 else float(np.copysign(np.inf, off))


EXACT, CHANCE, DIGITS, NLL = "exact match", "chance of the whole answer", "digit accuracy", "NLL per digit, nats"
METRICS: Mapping[str, Callable[[Scores], Any]] = {
    EXACT: lambda scores: scores.exact.mean(),
    CHANCE: lambda scores: scores.chance.mean(),
    DIGITS: lambda scores: scores.digits.mean(),
    "edit distance, digits": lambda scores: scores.edits.mean(),
    NLL: lambda scores: -scores.log_probs.mean(),
    "Brier score": lambda scores: scores.brier.mean(),
}
"""From the sharpest to smooth ones. The chance of the whole answer is the exact match that sampled answers have on
average.
"""


@dataclass(frozen=True, eq=False)
class Sweep:
    """By kind of answers, for each size, the scores of each seed."""

    config: Config
    scores: Mapping[str, list[list[Scores]]]

    def table(self, kind: str, metric: Callable[[Scores], Any]) -> np.ndarray:
        """(sizes, seeds) of a number."""
        return np.array([[metric(each) for each in seeds] for seeds in self.scores[kind]], np.float64)

    @property
    def floor(self) -> tuple[float, float]:
        """What answers without a look at the question reach: means of digit accuracy and exact match over the sizes of
        the control.
        """
        digits, exact = (float(self.table(train.SHUFFLED, METRICS[name]).mean()) for name in (DIGITS, EXACT))
        return digits, exact


def read(config: Config, folder: RunFolder, kind: str, width: int) -> list[Scores]:
    """Of the networks that a run has trained, by seed."""
    pairs = train.held_out(config)
    return ask(
        train.network(config, width),
        train.restore(config, folder, kind, width),
        train.written(config, kind),
        pairs,
        config.samples,
    )


def ask(
    network: networks.LanguageModel, params: Params, written: SumFormat, pairs: np.ndarray, samples: int
) -> list[Scores]:
    """Of networks whose parameters have an axis of seeds in front."""
    programs = _programs(network, written.prompt_length, written.answer_length)
    return [
        _of_seed(programs, vmapped_seeds.of_seed(params, seed), written, pairs, samples)
        for seed in range(len(jax.tree.leaves(params)[0]))
    ]


def _of_seed(programs: tuple[Any, Any], params: Params, written: SumFormat, pairs: np.ndarray, samples: int) -> Scores:
    probabilities, answer = programs
    prompts, truth, count = written.prompts(pairs), written.answers(pairs), len(pairs)
    chances = np.asarray(probabilities(params, written.rows(pairs))).astype(np.float64)
    likeliest = np.asarray(answer(params, prompts, np.arange(count), 0.0))
    sampled = (answer(params, prompts, np.arange(turn * count, (turn + 1) * count), 1.0) for turn in range(samples))
    least = np.finfo(np.float32).tiny  # below it a chance of float32 is 0
    return Scores(
        emergence.exact_match(likeliest, truth),
        emergence.digit_accuracy(likeliest, truth),
        emergence.edit_distance(likeliest, truth),
        np.log(np.maximum(np.take_along_axis(chances, truth[:, :, None], 2)[:, :, 0], least)),
        emergence.brier(chances.reshape(truth.size, -1), truth.reshape(-1)).reshape(truth.shape).mean(1),
        sum(int((np.asarray(each) == truth).all(1).sum()) for each in sampled),
        samples * count,
    )


@functools.lru_cache(maxsize=2)  # those of a size serve all kinds of answers and all seeds
def _programs(network: networks.LanguageModel, prompt: int, answer: int) -> tuple[Any, Any]:
    """(params, rows) -> probabilities, and (params, prompts, index, temperature) -> answers."""
    predict = networks.pure(network)

    def probabilities(params: Params, rows: jax.Array) -> jax.Array:
        return jax.nn.softmax(predict(params, rows[:, :-1]).logits[:, prompt - 1 :], 2)

    def generate(params: Params, prompts: jax.Array, index: jax.Array, temperature: jax.Array) -> jax.Array:
        cache = language.cache.full(network, prompts.shape[0], prompt + answer)
        key, model = jax.random.fold_in(jax.random.key(0), DRAWN), language.from_network(predict, params)
        warm = processors.temperature(temperature)
        return language.generate(
            key, model, cache, jnp.asarray(prompts), index, max_tokens=answer, processor=warm
        ).tokens

    return devices.jit(probabilities), devices.jit(generate)
