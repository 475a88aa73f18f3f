"""GRPO of adapters of low rank by the reward model of rankings, by what `gendiff tune` runs."""

import dataclasses
import json
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.language import real_model
from experiments.preferences.rlhf_language import rankings, requests, reward_model
from experiments.preferences.rlhf_language.config import WIDTH, Config
from experiments.preferences.rlhf_language.rankings import Pair
from experiments.preferences.rlhf_language.requests import Request
from experiments.preferences.rlhf_language.reward_model import LENGTH, RewardModel
from gendiff import preferences
from gendiff.commands.chat import models
from gendiff.commands.chat.chat_options import SMOLLM2
from gendiff.commands.text_to_image import texts
from gendiff.commands.tune import config as tune_config
from gendiff.commands.tune import rows
from gendiff.commands.tune import train as adapter
from gendiff.core import files
from gendiff.core.types import Jitted, Metrics, Params
from gendiff.networks import lora
from gendiff.pipelines import Chat
from gendiff.preferences import masked
from gendiff.preferences.rollouts import Rollout
from gendiff.runs import devices, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.weights import lora_files

NEAR, WEAK, FREE = "GRPO with a KL penalty", "GRPO with a weak one", "GRPO without one"
RANDOM = "GRPO on a random reward"
ARMS = (NEAR, FREE, WEAK, RANDOM)
SPLIT = 0.01
"""Share of the rows that `gendiff tune` holds out, two at least: replies are judged elsewhere."""


def taught(config: Config) -> list[Request]:
    """What rankings and prompts of the training are about."""
    return requests.requests(requests.TAUGHT, config.requests)


def ranked(config: Config) -> list[Pair]:
    """The rankings that the reward model learns."""
    return list(rankings.pairs(np.random.default_rng(0), taught(config), rankings.TAUGHT))


def learned_reward(config: Config, chat: Chat) -> RewardModel:
    """The reward model of the rankings, with a scale from one reply of the model to each request."""
    known, warmth = [request.text for request in taught(config)], config.temperature
    answers = models.sampled_answers(jax.random.key(0), chat, known, config.max_tokens, temperature=warmth)
    weights = reward_model.fit(reward_model.differences(ranked(config)))
    encodings = [reward_model.encodings(each) for each in (known, [answer.text for answer in answers])]
    normalise = preferences.normaliser(np.asarray(reward_model.features(*encodings)) @ weights)
    return RewardModel(texts.params(), weights, normalise)


def reward(model: RewardModel, chat: Chat, table: Sequence[Request], *, random: bool = False) -> adapter.Reward:
    """What GRPO learns from: scores of the reward model, or noise that is the same for equal texts. table: requests by
    the number of their row.

    The metrics are the mean score of the reward model, and the share of replies that the judge finds useful, which
    nothing learns from.
    """
    names = [request.name for request in table]

    def read(actions: Any, numbers: Any) -> tuple[np.ndarray, ...]:
        answers = [chat.tokenizer.decode(row[row >= 0]) for row in np.asarray(actions)]
        useful = requests.useful(answers, [names[number] for number in np.asarray(numbers)])
        return *reward_model.tokens(answers), useful.astype(np.float32), noise(answers)

    def score(params: Any, rollout: Rollout) -> tuple[jax.Array, Metrics]:
        count, numbers = len(rollout.mask), rollout.context["row"]
        number = jax.ShapeDtypeStruct((count,), jnp.float32)
        tokens = [jax.ShapeDtypeStruct((count, LENGTH), dtype) for dtype in (jnp.int32, jnp.bool_)]
        ids, mask, useful, chance = jax.pure_callback(read, (*tokens, number, number), rollout.actions, numbers)
        known, encodings = params
        scores = known.scores(encodings[numbers], ids, mask)
        return chance if random else scores, {"proxy": jnp.mean(scores), "useful": jnp.mean(useful)}

    return adapter.Reward((model, reward_model.encodings([request.text for request in table])), score)


def noise(answers: Sequence[str]) -> np.ndarray:
    """(n,) standard normal numbers that say nothing of the texts."""
    rngs = (np.random.default_rng(zlib.crc32(answer.encode())) for answer in answers)
    return np.array([rng.standard_normal() for rng in rngs], np.float32)


def seeds(config: Config, arm: str) -> tuple[int, ...]:
    """Of the adapters; the weak penalty and the random reward have the first one alone."""
    return config.seeds[:1] if arm in (WEAK, RANDOM) else config.seeds


def inside(folder: RunFolder, arm: str, seed: int) -> RunFolder:
    """Where an adapter is trained."""
    return folder.inside(f"{arm.replace(' ', '_')}_{seed}")


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every adapter with every seed; those that are finished stay."""
    missing = [
        (arm, seed, inside(folder, arm, seed))
        for arm in ARMS
        for seed in seeds(config, arm)
        if not (inside(folder, arm, seed).path / lora_files.SETTINGS).is_file()
    ]
    if not missing:
        return
    chat = real_model.opened(config.tiny)
    with progress.phase("reward model"):
        model = learned_reward(config, chat)
    for arm, seed, part in missing:
        progress.line(f"{arm}, seed {seed}")
        settings, table = tuned(config, arm, seed, part)
        adapter.train(settings, part, progress, reward(model, chat, table, random=arm == RANDOM))


def tuned(config: Config, arm: str, seed: int, part: RunFolder) -> tuple[tune_config.Config, list[Request]]:
    """What `gendiff tune` would be called with, and the requests in the order of its rows, which are written."""
    data = part.path / "rows.jsonl"
    known = {request.text: request for request in taught(config)}
    with files.replacing(data) as file:
        lines = ({"prompt": request.text, "answer": request.name} for request in known.values())
        file.write("\n".join(map(json.dumps, lines)).encode())
    settings = tune_config.Config(
        data=str(data),
        method="grpo",
        lora=config.lora,
        model=tune_config.TINY if config.tiny else SMOLLM2,
        held_out=SPLIT,
        length=WIDTH,
        seeds=(seed,),
        steps=config.steps,
        batch=config.batch,
        learning_rate=config.learning_rate,
        beta={NEAR: config.beta, WEAK: config.weak_beta}.get(arm, config.free_beta),
        group=config.group,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        checkpoint_every=8,
    )
    return settings, [known[row.messages[-1]["content"]] for row in rows.read(settings).table]


def opened(config: Config, folder: RunFolder, progress: Progress) -> adapter.Job:
    """The model and the shapes of its adapters."""
    part = inside(folder, NEAR, config.seeds[0])
    return adapter.prepared(tuned(config, NEAR, config.seeds[0], part)[0], part, progress)


def change(job: adapter.Job, folder: RunFolder, arm: str, seed: int) -> Params:
    """The adapter that was trained."""
    return training_loop.restore_params(job.init, inside(folder, arm, seed), seed=seed)


@dataclasses.dataclass(frozen=True)
class Replies:
    """Of one model to requests (r,), several times. texts: r of each time. kl: (times, r) log π/π₀ of each reply, whose
    mean estimates KL.
    """

    texts: list[list[str]]
    kl: np.ndarray


def replies(job: adapter.Job, write: Jitted, tree: Params, asked_for: Sequence[Request], times: int) -> Replies:
    """Of the model with an adapter. write: `writer` of the job."""
    prompts = np.full((len(asked_for), WIDTH - job.config.max_tokens), -1, np.int32)
    for slots, request in zip(prompts, asked_for, strict=True):
        ids = models.question(job.chat, request.text)
        slots[: len(ids)] = ids
    results = []
    for number in range(times):
        results.append(jax.device_get(write(tree, jax.random.key(number), prompts, job.chat.params)))
    decode = job.chat.tokenizer.decode
    return Replies(
        [[decode(row[row >= 0]) for row in actions] for actions, _ in results],
        np.array([kl for _, kl in results], np.float64),
    )


def writer(job: adapter.Job) -> Jitted:
    """(adapter, key, prompts (r, p), parameters) -> tokens (r, m) of replies, and log π/π₀ of each (r,)."""

    def write(tree: Params, key: jax.Array, prompts: jax.Array, params: Params) -> tuple[jax.Array, jax.Array]:
        adapted, numbers = lora.unmerged(params, tree), jnp.arange(len(prompts))
        rollout = adapter.drawn_answers(job, adapted, key, prompts, numbers, job.config.temperature)
        reference = adapter.action_log_probs(job, params, rollout)
        return rollout.actions, masked.total(rollout.log_probs - reference, rollout.mask)

    return devices.jit(write, libraries=False)
