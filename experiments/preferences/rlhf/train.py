"""Every stage of the run, each one program for all seeds: demonstrations, reward models, PPO for every β, GRPO and
DPO.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.preferences.rlhf import pairs, policies, rollout_programs, task
from experiments.preferences.rlhf.config import Config
from experiments.preferences.rlhf.pairs import DirectLoss, RankingLoss
from experiments.preferences.rlhf.rollout_programs import Given
from gendiff import language, networks, training
from gendiff.core.types import Params
from gendiff.language import objective
from gendiff.preferences.bradley_terry import Normaliser
from gendiff.runs import devices, meshes, training_loop, vmapped_seeds
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import TrainState, optimizers
from gendiff.training.checkpoints import Checkpoints

SFT, RANKED, FEW, PPO, GRPO, DPO = "sft", "reward", "reward_few", "ppo", "grpo", "dpo"
"""The stages, in their order, by the names of their folders."""
SFT_RATE, REWARD_RATE, DPO_RATE = 3e-3, 2e-3, 2e-3
"""Peak learning rates."""


@dataclass(frozen=True)
class Rewards:
    """Reward models after their training, one per member, whose axis stands in front.

    params: of their networks. normalise: what gives their scores mean 0 and standard deviation 1 over answers of the
        reference.
    tables: (members, 4, 512) normalised scores of all answers.
    """

    params: Params
    normalise: Normaliser
    tables: np.ndarray


@dataclass(frozen=True)
class Member:
    """One of the policies that a program trains side by side. number: of its seed. few: its reward model has learned
    few comparisons.
    """

    number: int
    beta: float
    few: bool = False


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Every stage; what is done already is left alone."""
    mesh = meshes.build(folder.mesh, ())
    count = len(config.seeds)
    run = functools.partial(_run, config, folder, progress)
    run(SFT, config.sft_steps, _sft_programs(config, mesh), functools.partial(demonstrations_at, config))
    laws = reference_laws(config, folder)
    models = _reward_programs(config, mesh)
    for kind in (RANKED, FEW):
        run(kind, config.reward_steps, models, functools.partial(rankings_at, config, rankings(config, laws, kind)))
    by_ranked, few = (rewards(config, folder, kind, laws) for kind in (RANKED, FEW))
    sft = _restored(config, folder, SFT, count, _sft_start(config))
    for kind in policy_stages(config):
        policies_of_stage = members(config, kind)
        programs = rollout_programs.build(
            config,
            kind == GRPO,
            _seeds(config, policies_of_stage),
            _given(policies_of_stage, sft, laws, by_ranked, few),
            mesh,
        )
        run(
            kind,
            config.updates,
            programs,
            functools.partial(_prompts_at, rollout_programs.prompts(config, len(policies_of_stage))),
        )
    run(
        DPO,
        config.dpo_steps,
        _dpo_programs(config, sft, mesh),
        pairs.source(config, laws, rankings(config, laws, RANKED), by_ranked.tables),
    )


def policy_stages(config: Config) -> tuple[str, ...]:
    """The stages in which a policy learns from its own answers."""
    return (PPO, GRPO) if config.grpo else (PPO,)


def members(config: Config, kind: str) -> tuple[Member, ...]:
    """What PPO, or GRPO, trains side by side."""
    numbers = range(len(config.seeds))
    if kind == GRPO:
        return tuple(Member(number, config.beta) for number in numbers)
    by_beta = tuple(Member(number, beta) for beta in config.betas for number in numbers)
    return by_beta + tuple(Member(number, config.small_beta, few=True) for number in numbers)


def demonstrations_at(config: Config, step: int) -> language.Texts:
    """Demonstrations of a step, tokens (batch, seeds, 4); the prompt, which is the first token, is no target."""
    rows = []
    for seed in config.seeds:
        rng = np.random.default_rng((seed, 0, step))
        prompts = rng.integers(task.PROMPTS, size=config.sft_batch)
        rows.append(task.texts(prompts, task.sample(rng, task.demonstrated(), prompts)[:, 0]))
    return language.Texts(np.stack(rows, 1))


def reference_laws(config: Config, folder: RunFolder) -> np.ndarray:
    """(seeds, 4, 512) log-probabilities of all answers after demonstrations, float64."""
    return laws_of(config, _restored(config, folder, SFT, len(config.seeds), _sft_start(config)))


def laws_of(config: Config, params: Params) -> np.ndarray:
    """(members, 4, 512) of policies, whose axis stands in front."""
    return np.asarray(_of_members(policies.law, policies.policy(config))(params), np.float64)


def rankings(config: Config, laws: np.ndarray, kind: str) -> tuple[task.Rankings, ...]:
    """What people say of the reference's answers, for each seed, and at last, by tosses of a coin, for the control."""
    few = kind == FEW
    count, each = (config.comparisons, 2) if few else (config.rankings, config.answers)
    liked = [task.gold()] * len(laws) + [np.zeros_like(task.gold())]
    seeds = [(seed, 1 + few) for seed in config.seeds] + [(config.seeds[0], 3 + few)]
    draws = zip(seeds, (*laws, laws[0]), liked, strict=True)
    return tuple(task.ranked(np.random.default_rng(seed), law, count, each, likings) for seed, law, likings in draws)


def rankings_at(config: Config, by_member: tuple[task.Rankings, ...], step: int) -> pairs.Ranked:
    """Rankings of a step, (batch, members, …)."""
    return pairs.ranked_at(by_member, min(config.reward_batch, len(by_member[0].prompts)), config.seeds, step)


def rewards(config: Config, folder: RunFolder, kind: str, laws: np.ndarray) -> Rewards:
    """Reward models after their training, normalised exactly under each seed's reference."""
    params = _restored(config, folder, kind, len(laws) + 1, _reward_start(config))
    raw = np.asarray(_of_members(policies.all_scores, policies.scalar(config))(params), np.float64)
    weight = np.exp(np.concatenate([laws, laws[:1]]))
    weight /= weight.sum((1, 2), keepdims=True)
    shift = (weight * raw).sum((1, 2))
    scale = np.sqrt((weight * (raw - shift[:, None, None]) ** 2).sum((1, 2)))
    tables = (raw - shift[:, None, None]) / scale[:, None, None]
    return Rewards(params, Normaliser(shift.astype(np.float32), scale.astype(np.float32)), tables)


def policy_laws(config: Config, folder: RunFolder, kind: str) -> np.ndarray:
    """(members, 4, 512) after PPO, GRPO or DPO; DPO's members are the seeds with rankings, then the seeds with the
    model's preferences.
    """
    count = 2 * len(config.seeds) if kind == DPO else len(members(config, kind))
    path = "params" if kind == DPO else f"policy/learner/params/{policies.POLICY}"
    shapes = jax.eval_shape(_sft_start(config), jax.random.key(0)).params
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), shapes)
    return laws_of(config, _subtree(config, folder, kind, path, like))


def curves(config: Config, folder: RunFolder, kind: str) -> np.ndarray:
    """(members, updates, 3) gold reward, told reward and KL before each update."""
    shape = jax.ShapeDtypeStruct((len(members(config, kind)), config.updates, len(rollout_programs.SEEN)), jnp.float32)
    return np.asarray(_subtree(config, folder, kind, "seen", {"curve": shape})["curve"], np.float64)


def _prompts_at(prompts: np.ndarray, step: int) -> np.ndarray:
    """The same ones at every step."""
    del step
    return prompts


def _run(
    config: Config,
    folder: RunFolder,
    progress: Progress,
    kind: str,
    steps: int,
    programs: Any,
    data: Callable[[int], Any],
) -> None:
    progress.line(f"stage {kind}")
    training_loop.train(
        programs,
        data,
        seed=config.seeds[0],
        steps=steps,
        folder=folder.inside(kind),
        progress=progress,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        most_nonfinite=100,
    )


def _seeds(config: Config, team: tuple[Member, ...]) -> tuple[int, ...]:
    return tuple(config.seeds[each.number] for each in team)


def _given(team: tuple[Member, ...], sft: Params, laws: np.ndarray, by_ranked: Rewards, few: Rewards) -> Given:
    """What each member starts from and is told, member by member in front."""

    def gathered(ranked: Any, compared: Any) -> Any:
        one, other = np.asarray(ranked), np.asarray(compared)
        return np.stack([(other if each.few else one)[each.number] for each in team])

    numbers = np.array([each.number for each in team])
    params, normalise, tables = (
        jax.tree.map(gathered, *parts)
        for parts in (
            (by_ranked.params, few.params),
            (by_ranked.normalise, few.normalise),
            (by_ranked.tables, few.tables),
        )
    )
    betas = np.array([each.beta for each in team], np.float32)
    start = jax.tree.map(lambda leaf: np.asarray(leaf)[numbers], sft)
    exact = {
        "reference": laws[numbers],
        "gold": np.broadcast_to(task.gold(), (len(team), *task.gold().shape)),
        "told": tables,
    }
    return Given(start, (params, normalise), {name: table.astype(np.float32) for name, table in exact.items()}, betas)


@functools.lru_cache(maxsize=4)
def _of_members(function: Callable[..., jax.Array], network: networks.LanguageModel) -> Callable[[Params], jax.Array]:
    """The function of a network and its parameters, for parameters with an axis of members in front."""
    return devices.jit(jax.vmap(functools.partial(function, network)))


def _sft_programs(config: Config, mesh: Any) -> training.CompiledStep:
    loss = objective.next_token(networks.pure(policies.policy(config)))
    step = training.make_step(loss, _adamw(config, SFT_RATE, config.sft_steps))
    return vmapped_seeds.compile_step(step, _sft_start(config), config.seeds, mesh)


def _reward_programs(config: Config, mesh: Any) -> training.CompiledStep:
    step = training.make_step(RankingLoss(policies.scalar(config)), _adamw(config, REWARD_RATE, config.reward_steps))
    return vmapped_seeds.compile_step(step, _reward_start(config), (*config.seeds, config.seeds[0]), mesh)


def _dpo_programs(config: Config, sft: Params, mesh: Any) -> training.CompiledStep:
    step = training.make_step(DirectLoss(policies.policy(config), config.beta), _dpo_optimizer(config))
    twice = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), sft)
    return vmapped_seeds.compile_step(step, _dpo_start(config), config.seeds * 2, mesh, (twice,))


def _sft_start(config: Config) -> Any:
    return _fresh(policies.policy(config), _adamw(config, SFT_RATE, config.sft_steps))


def _reward_start(config: Config) -> Any:
    return _fresh(policies.scalar(config), _adamw(config, REWARD_RATE, config.reward_steps))


def _dpo_start(config: Config) -> Any:
    def fresh(key: jax.Array, sft: Params) -> TrainState:
        return training.start(sft, _dpo_optimizer(config), key, ema=())

    return fresh


def _fresh(module: networks.LanguageModel, optimizer: optax.GradientTransformation) -> Any:
    return vmapped_seeds.fresh(lambda key: networks.init(module, key, np.zeros((1, 2), np.int32)), optimizer)


def _adamw(config: Config, rate: float, steps: int) -> optax.GradientTransformation:
    return optimizers.adamw(rate, warmup=config.warmup, total=steps, weight_decay=0.01, clip=1.0)


def _dpo_optimizer(config: Config) -> optax.GradientTransformation:
    return optimizers.adamw(DPO_RATE, warmup=config.warmup, total=config.dpo_steps, clip=1.0)


def _restored(config: Config, folder: RunFolder, kind: str, count: int, fresh: Any) -> Params:
    return vmapped_seeds.restore(fresh, count, folder.inside(kind), seed=config.seeds[0])


def _subtree(config: Config, folder: RunFolder, kind: str, path: str, like: Any) -> Any:
    with Checkpoints(folder.inside(kind).checkpoints(config.seeds[0]), read_only=True) as store:
        return store.restore_subtree(None, path, like).state
