"""The base network with its four skills, supervised tuning on its own revisions, and preference tuning on its own labels."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from experiments.preferences import responses, stages
from experiments.preferences.constitution import feedback, grammar, skills
from experiments.preferences.constitution.config import Config
from experiments.preferences.constitution.feedback import Judged
from gendiff import language, networks
from gendiff.core import records
from gendiff.core.types import Loss, Metrics, Params
from gendiff.language import objective
from gendiff.preferences import direct, judging
from gendiff.preferences.revision import Revised
from gendiff.runs import meshes, seeds_together
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, optimizers

BASE, SUPERVISED, PREFERENCE, UNREVISED, SHUFFLED = "base", "supervised", "preference", "unrevised", "shuffled"
NETWORKS = (BASE, SUPERVISED, PREFERENCE, UNREVISED, SHUFFLED)
"""What is trained: the three stages, and the controls of the second and the third."""
REVISING, FIRST_ANSWERS, SECOND_ANSWERS = (np.uint32(2**32 - number) for number in (6, 7, 8))
"""What keys of draws fold into the key of a seed: no training does."""


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
    """DPO, and −log p per token of the chosen answers with a weight, which keeps the network from losing what both answers have."""

    predict: Any = records.static()
    beta: float = records.static()
    anchor: float = records.static()

    def __call__(self, params: Params, key: jax.Array, batch: Preferred) -> tuple[jax.Array, Metrics]:
        """The scalar and its metrics."""
        chosen, rejected = (responses.log_probs(self.predict, params, rows, skills.PROMPT) for rows in (batch.chosen, batch.rejected))
        loss, metrics = direct.dpo(chosen, rejected, batch.reference_chosen, batch.reference_rejected, beta=self.beta)
        nll = -chosen.mean() / skills.RESPONSE
        return loss + self.anchor * nll, metrics | {"dpo": loss, "nll": nll}


@dataclass(frozen=True)
class Compared:
    """Two answers of the tuned network to each of n requests, and what the base network says of them."""

    numbers: np.ndarray
    first: np.ndarray
    second: np.ndarray
    judged: Judged

    def labelled(self, least: float, fewest: int) -> np.ndarray:
        """The pairs whose probability is at least so far from one half, and never fewer than `fewest`: those that are farthest."""
        decided = np.abs(self.judged.probability - 0.5)
        count = max(int(np.sum(decided >= least)), min(fewest, len(decided)))
        return np.sort(np.argsort(-decided, kind="stable")[:count])


def network(config: Config) -> networks.LanguageModel:
    """The network of all stages. Places are learned, for the parts of all rows stand at the same ones."""
    sizes: dict[str, Any] = {"width": config.width, "depth": config.depth, "heads": 4, "mlp_width": 2 * config.width}
    return networks.LanguageModel(vocabulary=skills.VOCABULARY, context=skills.LENGTH, positions="learned", **sizes)


def held_out(config: Config) -> np.ndarray:
    """The numbers of the requests that no stage sees, the same ones for all seeds."""
    return _shuffled_requests()[: config.judged]


def drawn_requests(config: Config, seed: int, count: int, stage: int) -> np.ndarray:
    """The numbers of `count` different requests that are not held out, by which a stage of a seed goes."""
    return np.random.default_rng((seed, stage)).permutation(_shuffled_requests()[config.judged :])[:count]


def revisions(config: Config, base: Params, seed: int) -> tuple[np.ndarray, Revised]:
    """The requests (n,) of supervised tuning, and the base network's answers with its revisions."""
    numbers = drawn_requests(config, seed, config.revised, 1)
    key = jax.random.fold_in(jax.random.key(seed), REVISING)
    return numbers, feedback.revisions(network(config), base, key, skills.prompts(numbers), config.rounds)


def compared(config: Config, base: Params, tuned: Params, seed: int) -> Compared:
    """Pairs of answers of the tuned network, judged by the base network."""
    numbers, module = drawn_requests(config, seed, config.pairs, 2), network(config)
    prompt, key = skills.prompts(numbers), jax.random.key(seed)
    first, second = (feedback.answers(module, tuned, jax.random.fold_in(key, part), prompt) for part in (FIRST_ANSWERS, SECOND_ANSWERS))
    return Compared(numbers, first, second, feedback.judgements(module, base, prompt, first, second))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """All stages. What lies between two of them is a function of the first, so that a resumed run computes the same again."""
    mesh, module = meshes.build(folder.mesh, ()), network(config)
    stage = functools.partial(_stage, config, folder, progress)
    skilled = stages.first(module, _loss(config, BASE), _adamw(config, BASE), config.seeds, mesh)
    stage(BASE, skilled, functools.partial(skill_rows_at, config))
    base = restore(config, folder, BASE)

    progress.line(f"revise {config.revised} answers in {config.rounds} rounds, {len(config.seeds)} seeds")
    pairs = [revisions(config, seeds_together.of_seed(base, number), seed) for number, seed in enumerate(config.seeds)]
    tuning = stages.following(base, _loss(config, SUPERVISED), _adamw(config, SUPERVISED), config.seeds, mesh)
    for name in (SUPERVISED, UNREVISED):
        texts = [answer_texts(numbers, of.last if name == SUPERVISED else of.first) for numbers, of in pairs]
        stage(name, tuning, functools.partial(stages.batch_at, texts, config.seeds, config.tuning_batch))

    tuned = restore(config, folder, SUPERVISED)
    progress.line(f"judge {config.pairs} pairs, {len(config.seeds)} seeds")
    of_seeds = [(*(seeds_together.of_seed(of, number) for of in (base, tuned)), seed) for number, seed in enumerate(config.seeds)]
    found = [(compared(config, *given), given[1], given[2]) for given in of_seeds]
    preferring = stages.following(tuned, _loss(config, PREFERENCE), _adamw(config, PREFERENCE), config.seeds, mesh)
    for name in (PREFERENCE, SHUFFLED):
        labelled = [preferred(config, each, of, seed, by_coin=name == SHUFFLED) for each, of, seed in found]
        stage(name, preferring, functools.partial(stages.batch_at, labelled, config.seeds, config.preference_batch))


def skill_rows_at(config: Config, step: int) -> language.Texts:
    """(batch, seeds, length) rows of a step, of requests that are not held out."""
    free = _shuffled_requests()[config.judged :]
    made = []
    for seed in config.seeds:
        rng = np.random.default_rng((seed, step))
        made.append(skills.rows(rng, rng.choice(free, config.batch)))
    return language.Texts(np.stack([rows.tokens for rows in made], 1), np.stack([rows.weight for rows in made], 1))


def answer_texts(numbers: np.ndarray, response: np.ndarray) -> language.Texts:
    """Requests and answers (n, 8) as texts, of which the answers are learned."""
    rows = skills.answer_rows(skills.prompts(numbers), response)
    return language.Texts(rows.tokens, rows.weight)


def preferred(config: Config, pairs: Compared, tuned: Params, seed: int, *, by_coin: bool = False) -> Preferred:
    """The pairs that have a label, in its order. by_coin: in the order of a coin: what preference tuning does without judgement."""
    kept = pairs.labelled(config.least, config.preference_batch)
    log_odds = pairs.judged.probability[kept] - 0.5
    if by_coin:
        log_odds = np.random.default_rng((seed, 3)).permuted(np.resize((-1.0, 1.0), len(kept)))
    prompt = skills.prompts(pairs.numbers[kept])
    given = (np.concatenate([prompt, response[kept]], 1) for response in (pairs.first, pairs.second))
    chosen, rejected = (np.asarray(rows) for rows in judging.ordered(log_odds, *given))
    return Preferred(chosen, rejected, *(feedback.log_probs(network(config), tuned, rows) for rows in (chosen, rejected)))


def restore(config: Config, folder: RunFolder, name: str) -> Params:
    """The parameters of a network by its name; every leaf has an axis of seeds in front."""
    return stages.restore(network(config), folder.inside(name), config.seeds)


def steps(config: Config, name: str) -> int:
    """The optimizer steps of a stage."""
    by_name = {BASE: config.train_steps, SUPERVISED: config.tuning_steps, UNREVISED: config.tuning_steps}
    return by_name.get(name, config.preference_steps)


def _stage(config: Config, folder: RunFolder, progress: Progress, name: str, run: CompiledStep, batch_at: Any) -> None:
    counts: dict[str, Any] = {"checkpoint_every": config.checkpoint_every, "log_every": config.log_every}
    given: dict[str, Any] = {"steps": steps(config, name), "seeds": config.seeds, "folder": folder.inside(name)}
    stages.train(run, batch_at, progress=progress, **given, **counts)


def _loss(config: Config, name: str) -> Loss:
    predict = networks.pure(network(config))
    return PreferenceLoss(predict, config.beta, config.anchor) if name == PREFERENCE else objective.next_token(predict)


def _adamw(config: Config, name: str) -> optax.GradientTransformation:
    rates = {BASE: config.learning_rate, SUPERVISED: config.tuning_rate, PREFERENCE: config.preference_rate}
    warmup = config.warmup if name == BASE else 0
    numbers: dict[str, Any] = {"warmup": warmup, "total": steps(config, name), "weight_decay": config.weight_decay, "clip": config.clip}
    return optimizers.adamw(rates[name], **numbers)


@functools.lru_cache(maxsize=1)
def _shuffled_requests() -> np.ndarray:
    return np.random.default_rng(0).permutation(grammar.REQUESTS)
