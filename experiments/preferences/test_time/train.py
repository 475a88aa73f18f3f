"""The networks of sums and what each is trained on, all seeds of an arm by one program. Pictures and the verifier have
their own files.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from experiments.preferences.test_time.config import Config
from experiments.tasks import addition
from experiments.tasks.addition import SumFormat
from gendiff import networks, scaling, training
from gendiff.core.types import Loss, Params
from gendiff.language import objective
from gendiff.language.objective import Texts
from gendiff.runs import meshes, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import cost
from gendiff.training import CompiledStep, TrainState, optimizers

HEAD = 8
"""Channels of a head of attention; there are at least two heads."""
ZERO = addition.SYMBOLS.index("0")
"""The token that stands in the place of scratch-work without content."""
REFERENCE, RATE = 64, 3e-3
"""A width, and its peak learning rate of AdamW; at another width it is that times the root of 64 / width. It falls
along a cosine.
"""
CUT = 0.5
"""Share of texts with scratch-work in which it stops early, after a random place, so that every budget is known from
training.
"""
EXTRA = 1
"""Places beyond the last one for which budgets make a network think."""
LABEL = 1
"""Tokens that the verifier reads behind an answer in training: 1 for a right one, 0 for a wrong one."""

DIRECT, SCRATCH, FILLER = "direct answers", "scratch-work", "filler tokens"
"""What a network learns to write behind a question."""


@dataclass(frozen=True)
class Arm:
    """One training: its name, what is learned, channels of a token, and how often the steps are halved."""

    name: str
    kind: str
    width: int
    halved: int = 0

    @property
    def folder(self) -> str:
        return self.name.replace(" ", "_").replace("/", "_of_")


def direct(config: Config, halved: int = 0) -> Arm:
    """The small network that answers at once, with all steps or fewer."""
    return Arm(
        f"small, direct, 1/{2**halved} of the steps" if halved else "small, direct", DIRECT, config.small, halved
    )


def scratch(config: Config) -> Arm:
    return Arm("small, scratch-work", SCRATCH, config.small)


def filler(config: Config) -> Arm:
    return Arm("small, filler tokens", FILLER, config.small)


def large(config: Config) -> Arm:
    return Arm("large, direct", DIRECT, config.large)


def groups(config: Config) -> tuple[tuple[Arm, ...], ...]:
    """Every training of sums but that of the verifier; the arms of a group are trained side by side, by one program."""
    shorter = tuple((direct(config, halved),) for halved in range(config.halvings, 0, -1))
    return ((direct(config), scratch(config), filler(config)), (large(config),), *shorter)


def written(config: Config, kind: str) -> SumFormat:
    """How the sums of a kind are written; filler tokens stand where scratch-work would."""
    return SumFormat(config.digits, scratch=kind != DIRECT)


def held_out(config: Config) -> np.ndarray:
    """The pairs (n, 2) that are asked and that no training sees in either order, the same ones for all seeds."""
    return _held_out(config.digits, config.questions)


def context(config: Config) -> int:
    """Tokens of the longest text: scratch-work of more places than there are, or an answer with the label behind it."""
    return SumFormat(config.digits, scratch=True).length + 2 * EXTRA + LABEL


def size(config: Config, width: int) -> scaling.DecoderSize:
    """The sizes of a network."""
    return scaling.DecoderSize(addition.VOCABULARY, width, config.depth, max(2, width // HEAD), HEAD, 2 * width)


def network(config: Config, width: int) -> networks.LanguageModel:
    """A network of sums. Places are learned, for the digits of all questions stand at the same ones."""
    shape = size(config, width)
    return networks.LanguageModel(
        vocabulary=shape.vocabulary,
        context=context(config),
        width=width,
        depth=shape.depth,
        heads=shape.heads,
        head_size=shape.head_size,
        mlp_width=shape.mlp_width,
        positions="learned",
    )


def steps(config: Config, arm: Arm) -> int:
    return config.train_steps >> arm.halved


def training_flops(config: Config, arm: Arm) -> float:
    """Operations of a training of one seed: 6 per parameter and token, and attention."""
    shape, tokens = size(config, arm.width), written(config, arm.kind).length - 1
    each = cost.training_flops(shape.active, tokens, shape.attention_flops(cost.mean_seen(tokens)))
    return float(steps(config, arm) * config.batch * each)


def asking_flops(config: Config, width: int, new: int, samples: int = 1) -> float:
    """Operations of so many samples of `new` tokens behind one question, which is read once. A verifier that reads them
    takes as many.
    """
    shape, prompt = size(config, width), SumFormat(config.digits).prompt_length
    reading = cost.forward_flops(shape.active, prompt, shape.attention_flops(cost.mean_seen(prompt)))
    writing = cost.forward_flops(shape.active, new, shape.attention_flops(prompt + (new + 1) / 2))
    return float(reading + samples * writing)


def texts_at(config: Config, kind: str, seeds: tuple[int, ...], step: int) -> Texts:
    """The texts (batch, seeds, s) of a step. What stands behind the question counts."""
    rows = np.stack([_rows(config, kind, seed, step) for seed in seeds], 1)
    behind = np.arange(rows.shape[2]) >= SumFormat(config.digits).prompt_length
    return Texts(rows, np.broadcast_to(behind, rows.shape).astype(np.float32))


def texts_of(config: Config, arms: tuple[Arm, ...], step: int) -> Texts:
    """The texts (batch, arms · seeds, s) of a step, with padding behind those that are shorter."""
    longest = max(written(config, arm.kind).length for arm in arms)

    def padded(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
        behind = ((0, 0), (0, 0), (0, longest - texts.tokens.shape[2]))
        return np.pad(texts.tokens, behind, constant_values=networks.language_model.PADDING), np.pad(
            texts.weight, behind
        )

    parts = [padded(texts_at(config, arm.kind, config.seeds, step)) for arm in arms]
    return Texts(*(np.concatenate(each, 1) for each in zip(*parts, strict=True)))


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every network of sums but the verifier."""
    for arms in groups(config):
        run(config, folder, progress, arms, functools.partial(texts_of, config, arms))


def run(
    config: Config,
    folder: RunFolder,
    progress: Progress,
    arms: tuple[Arm, ...],
    texts: Callable[[int], Any],
    loss: Loss | None = None,
    start: Params | None = None,
) -> None:
    """One training of all seeds of arms of one size and length, on texts (batch, arms · seeds, …), a function of the
    step.

    loss: None is that of the next token. start: parameters (arms · seeds, …) before the first step; None: random ones.
    """
    mesh, first = meshes.build(folder.mesh, ()), arms[0]
    seeds = f"{len(config.seeds)} seed{'s' if len(config.seeds) > 1 else ''}"
    progress.line(f"train {' and '.join(arm.name for arm in arms)}: {seeds}")
    training_loop.train(
        programs(config, first, len(arms), mesh, loss, start),
        texts,
        seed=config.seeds[0],
        steps=steps(config, first),
        folder=folder.inside(first.folder),
        progress=progress,
        checkpoint_every=500,
        log_every=20,
    )


def restore(config: Config, folder: RunFolder, arm: Arm) -> Params:
    """The parameters after training; every leaf has an axis of seeds in front. Raises as `training_loop.restore_ema`
    does.
    """
    arms = next((group for group in groups(config) if arm in group), (arm,))
    seeds, position = len(config.seeds), arms.index(arm) * len(config.seeds)
    start, held = fresh(config, arm), folder.inside(arms[0].folder)
    params = vmapped_seeds.restore(start, len(arms) * seeds, held, seed=config.seeds[0])
    # in NumPy, which compiles nothing for it
    return jax.tree.map(lambda leaf: np.asarray(leaf)[position : position + seeds], params)


def programs(
    config: Config, arm: Arm, arms: int, mesh: jax.sharding.Mesh, loss: Loss | None = None, start: Params | None = None
) -> CompiledStep:
    """What a training runs, for all seeds of its arms at once; `run` says what loss and start are."""
    step = training.make_step(
        loss or objective.next_token(networks.pure(network(config, arm.width))), _adamw(config, arm)
    )
    arguments = () if start is None else (start,)
    return vmapped_seeds.compile_step(step, fresh(config, arm), config.seeds * arms, mesh, arguments)


def fresh(config: Config, arm: Arm) -> Callable[..., TrainState]:
    """(key, parameters) -> the state before training; without parameters it draws them."""
    module, optimizer = network(config, arm.width), _adamw(config, arm)
    random = vmapped_seeds.fresh(lambda key: networks.init(module, key, np.zeros((1, 2), np.int32)), optimizer)

    def state(key: jax.Array, *start: Params) -> TrainState:
        return training.start(start[0], optimizer, key, ema=()) if start else random(key)

    return state


def plan(config: Config, progress: Progress) -> None:
    """Prints the trainings and what they cost; computes nothing."""
    for arm in (arm for group in groups(config) for arm in group):
        spent = training_flops(config, arm)
        sizes = f"{size(config, arm.width).active:,} parameters, {steps(config, arm)} steps"
        progress.line(f"{arm.name}: {sizes}, {spent:.3g} operations per seed")
    progress.line(f"{len(config.seeds)} seeds, {config.questions} questions, {config.samples} samples of each")


def _adamw(config: Config, arm: Arm) -> optax.GradientTransformation:
    numbers: dict[str, Any] = {"warmup": config.warmup >> arm.halved, "total": steps(config, arm), "clip": 1.0}
    return optimizers.adamw(RATE * (REFERENCE / arm.width) ** 0.5, weight_decay=0.01, **numbers)


def _rows(config: Config, kind: str, seed: int, step: int) -> np.ndarray:
    format_of_texts = written(config, kind)
    pairs = addition.batch_at(config.digits, config.batch, seed, step, without=held_out(config))
    if kind != SCRATCH:
        rows = format_of_texts.rows(pairs)
        if kind == FILLER:
            rows[:, format_of_texts.prompt_length : format_of_texts.prompt_length + format_of_texts.scratch_length] = (
                ZERO
            )
        return rows
    rng = np.random.default_rng((seed, step, 1))  # beside that of the pairs
    early = rng.random(len(pairs)) < CUT
    return format_of_texts.rows(pairs, np.where(early, rng.integers(config.digits, size=len(pairs)), config.digits))


@functools.lru_cache(maxsize=4)
def _held_out(digits: int, count: int) -> np.ndarray:
    return addition.held_out(digits, count, seed=0)
