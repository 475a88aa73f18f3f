"""The training of an adapter: the parameters of the model are an argument of the step that stays, for all three losses.

    sft    −mean log π(token | earlier tokens), over the tokens of answers and their ends
    dpo    −log logistic(β (log π/π₀ of the chosen answer − that of the rejected one))
    grpo   −mean over tokens of min(ρ A, clip(ρ) A), of answers that π draws, once: A is the reward − β log π/π₀ of an
           answer, less the mean of its group, over the group's deviation

π is the model with its adapter, and π₀ the model without, whose parameters are the same arrays.

References:
    Ouyang et al., 2022, section 3.5; Rafailov et al., 2023, Eq. 7; Shao et al., 2024, Eq. 3 (from memory).
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import language, networks, training
from gendiff.commands.chat import models
from gendiff.commands.tune import encoded_rows, rewards, rows
from gendiff.commands.tune.config import BETAS, RATES, TINY, Config
from gendiff.commands.tune.rows import Rows
from gendiff.core.errors import ConfigError
from gendiff.core.types import Metrics, Params
from gendiff.language import objective, processors, scoring
from gendiff.networks import lora
from gendiff.pipelines import Chat
from gendiff.preferences import advantage_rules, direct, policy_step, rollouts
from gendiff.preferences.rollouts import Rollout
from gendiff.runs import configuration, devices, drawing, meshes, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import optimizers, sharding
from gendiff.training.compile_step import INIT
from gendiff.weights import lora_files

FILE = "tuning.json"
PATHS = r"block_\d+/(qkv|output|mlp_[01])/kernel$"
"""The kernels that learn a change: every linear layer of every block."""
BASES = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Names of models that are no folders, for the settings of the adapter."""
Arrays = dict[str, np.ndarray]
Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class JobFacts:
    """tuning.json, written when a run begins. fingerprint: of the bytes of the rows."""

    fingerprint: str
    training: int
    held_out: int
    steps: int
    learning_rate: float


@dataclasses.dataclass(frozen=True, eq=False)
class Reward:
    """What grpo learns from in place of comparisons with the answers of rows.

    params: a tree that stays, such as the parameters of a reward model; it is no constant of the program. score:
        (params, rollout) -> rewards (n,) of its answers, and further metrics. The rollout's context has the numbers of
        their rows in `Rows.table`.
    """

    params: Params
    score: Callable[[Params, Rollout], tuple[jax.Array, Metrics]]


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """A model and what it learns from. training, held_out: arrays of `encoded_rows.encoded`. reward: None where rows
    name theirs.
    """

    config: Config
    chat: Chat
    rows: Rows
    training: Arrays
    held_out: Arrays
    facts: JobFacts
    reward: Reward | None = None

    @functools.cached_property
    def init(self) -> Callable[[jax.Array], Params]:
        """From a key to an adapter that changes nothing yet."""
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self.chat.params)
        return lambda key: lora.start(key, like, self.config.lora, PATHS)

    @functools.cached_property
    def predict(self) -> Callable[..., tuple[object, ...]]:
        """The network, which computes its blocks again in the backward pass."""
        return networks.pure(self.chat.network.clone(remat=True))

    @property
    def beta(self) -> float:
        """How strongly the method stays near the model without adapter."""
        return self.config.beta or BETAS[self.config.method]


def prepared(config: Config, folder: RunFolder, progress: Progress, reward: Reward | None = None) -> Job:
    """The model and the arrays of the rows. reward: of grpo, in place of those that rows name.

    Raises as `encoded_rows.encoded`, and DataError where the rows are others than when the run began.
    """
    devices.local()
    lines = rows.read(config)
    with progress.phase("open"):
        chat = models.tiny(4 * config.length) if config.model == TINY else models.opened(config.model)
        models.adaptable(chat)
        training_rows, held_out = encoded_rows.encoded(config, chat, lines)
    rate = config.learning_rate or RATES[config.method]
    facts = JobFacts(lines.fingerprint, len(lines.training), len(lines.held_out), lines.steps(config), rate)
    facts = configuration.first_facts(folder.path / FILE, facts, {"fingerprint": "rows"})
    job = Job(config, chat, lines, training_rows, held_out, facts, reward)
    try:
        jax.eval_shape(job.init, jax.random.key(0))
    except ValueError as error:
        raise ConfigError(f"--lora {config.lora}: {error}") from error
    return job


def train(config: Config, folder: RunFolder, progress: Progress, reward: Reward | None = None) -> None:
    """Trains the adapter and leaves it in the folder. reward: as of `prepared`."""
    job = prepared(config, folder, progress, reward)
    progress.line(rows.described(config, job.rows))
    total, count = networks.count(job.chat.params), networks.count(jax.eval_shape(job.init, jax.random.key(0)))
    progress.line(f"{count / 1e6:.3g} M parameters learn beside {total / 1e6:.4g} M, which stay")
    data = with_reference(job, job.training, progress)
    training_loop.train(
        program(job, folder),
        data,
        seed=config.seeds[0],
        steps=job.facts.steps,
        batch=config.batch,
        folder=folder,
        progress=progress,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
    )
    base = BASES.get(config.model, config.model)
    lora_files.save_adapter(folder.path, learned(job, folder), models.adaptable(job.chat), base)
    progress.line(f"adapter: {folder.path}")


def learned(job: Job, folder: RunFolder) -> Params:
    """The adapter of the newest checkpoint."""
    return training_loop.restore_params(job.init, folder, seed=job.config.seeds[0])


def program(job: Job, folder: RunFolder) -> training.CompiledStep:
    """What `training_loop.train` runs."""
    steps = job.facts.steps
    optimizer = optimizers.adamw(job.facts.learning_rate, warmup=steps // 10, total=steps)
    mesh = meshes.build(folder.mesh, ())
    frozen = [job.chat.params, *([job.reward.params] if job.reward else [])]

    def fresh(key: jax.Array) -> training.TrainState:
        return training.start(job.init(jax.random.fold_in(key, INIT)), optimizer, key, ())

    return training_loop.compile_step(
        training.make_step(functools.partial(LOSSES[job.config.method], job), optimizer, clip=1.0),
        fresh,
        mesh,
        libraries=job.config.method != "grpo",
        frozen=tuple(sharding.replicate(tree, mesh) for tree in frozen),
    )


def answer_log_probs(job: Job, params: Params, tokens: jax.Array, weight: jax.Array) -> jax.Array:
    """(n,) of (n, s): log π of each answer with its end; (n, 2) of pairs (n, 2, s)."""
    texts, counted = (array.reshape(-1, array.shape[-1]) for array in (tokens, weight))
    log_probs = scoring.sampled_log_probs(job.predict, params, texts, jnp.argmax(counted > 0, 1))
    return direct.sequence_log_probs(log_probs, counted[:, 1:]).reshape(tokens.shape[:-1])


def with_reference(job: Job, data: Arrays, progress: Progress) -> Arrays:
    """The arrays, and for dpo what the model without adapter says of each answer."""
    if job.config.method != "dpo":
        return data
    score = functools.partial(devices.jit(functools.partial(answer_log_probs, job)), job.chat.params)
    with progress.phase("reference"):
        groups = [(None, (data["tokens"], data["weight"]))]
        parts = [part for *_, part in drawing.stream(score, groups, together=job.config.batch)]
    return data | {"reference": np.concatenate(parts)}


def sft(job: Job, change: Params, key: jax.Array, batch: Batch, params: Params) -> tuple[jax.Array, Metrics]:
    """The loss of answers, with metrics."""
    texts = language.Texts(batch["tokens"], batch["weight"])
    return objective.next_token(job.predict)(lora.unmerged(params, change), key, texts)


def dpo(job: Job, change: Params, key: jax.Array, batch: Batch, params: Params) -> tuple[jax.Array, Metrics]:
    """The loss of pairs, with metrics."""
    log_probs = answer_log_probs(job, lora.unmerged(params, change), batch["tokens"], batch["weight"])
    return direct.dpo(*log_probs.T, *batch["reference"].T, beta=job.beta)


def grpo(
    job: Job, change: Params, key: jax.Array, batch: Batch, params: Params, reward: Params = ()
) -> tuple[jax.Array, Metrics]:
    """The loss of answers that the model draws here, with metrics. reward: parameters of the job's reward."""
    group = job.config.group

    def evaluate(params: Params, rollout: Rollout) -> tuple[jax.Array, None]:
        return action_log_probs(job, params, rollout), None

    held = lora.unmerged(params, jax.lax.stop_gradient(change))
    prompts, numbers = (jnp.repeat(batch[name], group, 0) for name in ("prompt", "row"))
    rollout = drawn_answers(job, held, key, prompts, numbers, job.config.temperature)
    scores, more = job.reward.score(reward, rollout) if job.reward else (_compared(job, rollout), {})
    experience, metrics = policy_step.experience(
        evaluate, lambda *_: scores, advantage_rules.grpo(group), held, rollout, params, None, job.beta
    )
    loss = policy_step.policy_loss(lambda change, rollout: evaluate(lora.unmerged(params, change), rollout))
    value, of_loss = loss(change, key, experience)
    return value, metrics | more | of_loss


LOSSES = {"sft": sft, "dpo": dpo, "grpo": grpo}


def drawn_answers(
    job: Job, params: Params, key: jax.Array, prompts: jax.Array, numbers: jax.Array, temperature: float
) -> Rollout:
    """Answers to prompts (n, p) of rows (n,); temperature 0 takes the likeliest ones."""
    most, network = job.config.max_tokens, job.chat.network
    written = language.generate(
        key,
        language.from_network(networks.pure(network), params),
        language.cache.full(network, len(prompts), prompts.shape[1] + most),
        prompts,
        jnp.arange(len(prompts)),
        max_tokens=most,
        processor=processors.temperature(temperature),
        stop=job.chat.ends(),
    )
    context = {"prompt": prompts, "row": numbers}
    return rollouts.rollout(written.tokens, written.log_probs, written.tokens >= 0, context)


def action_log_probs(job: Job, params: Params, rollout: Rollout) -> jax.Array:
    """(n, m) log π of each token of answers (n, m) that were drawn at the temperature of the job."""
    prompt, answer = rollout.context["prompt"], rollout.actions
    start = jnp.sum(prompt >= 0, 1)
    places = start[:, None] + jnp.arange(answer.shape[1])[None]
    text = jnp.pad(prompt, ((0, 0), (0, answer.shape[1])), constant_values=-1)
    text = text.at[jnp.arange(len(text))[:, None], places].set(answer)
    processor = processors.temperature(job.config.temperature)
    log_probs = scoring.sampled_log_probs(job.predict, params, text, start, processor)
    return jnp.take_along_axis(log_probs, places - 1, 1)


def rewarded(job: Job, answers: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(n,) rewards of answers (n, m) to rows (n,)."""
    result = []
    table = job.rows.table
    for answer, number in zip(np.asarray(answers), np.asarray(numbers), strict=True):
        row, text = table[number], job.chat.tokenizer.decode(answer[answer >= 0])
        result.append(rewards.REWARDS[row.reward](text, row.answers[0]))
    return np.array(result, np.float32)


def _compared(job: Job, rollout: Rollout) -> jax.Array:
    """(n,) rewards of answers by the comparisons that their rows name."""
    shape = jax.ShapeDtypeStruct(rollout.mask.shape[:1], jnp.float32)
    answers = rollout.actions, rollout.context["row"]
    result: jax.Array = jax.pure_callback(functools.partial(rewarded, job), shape, *answers)
    return result
