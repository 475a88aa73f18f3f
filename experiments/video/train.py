"""The training of each attention, one seed after the other.

Seeds side by side in one program would be slower: these networks are wide enough that one of them keeps all cores busy.
"""

import functools
from typing import Any

import jax

from experiments.video import clips
from gendiff import training
from gendiff.commands.video import clip_network, networks
from gendiff.commands.video.config import ATTENTIONS, Config
from gendiff.runs import meshes, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, TrainState, optimizers
from gendiff.training.compile_step import INIT


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """Each network by as many operations."""
    mesh = meshes.build(folder.mesh, ())
    for attention in ATTENTIONS:
        run = programs(config, attention, mesh)
        progress.line(f"train {attention} attention")
        for seed in config.seeds:
            training_loop.train(
                run,
                functools.partial(clips.batch, config, seed),
                seed=seed,
                steps=networks.steps(config, attention),
                folder=clip_network.place(folder, attention),
                progress=progress,
                checkpoint_every=config.checkpoint_every,
                log_every=config.log_every,
            )


def programs(config: Config, attention: str, mesh: jax.sharding.Mesh) -> CompiledStep:
    """What the training of every seed runs."""
    total = networks.steps(config, attention)
    numbers: dict[str, Any] = {"warmup": int(config.warmup * total), "total": total, "weight_decay": config.weight_decay}
    optimizer = optimizers.muon(config.learning_rate, adam_learning_rate=config.adam_learning_rate, clip=config.clip, **numbers)

    def fresh(key: jax.Array) -> TrainState:
        params = networks.init(config, attention, jax.random.fold_in(key, INIT))
        return training.start(params, optimizer, key, ema=(config.ema,))

    step = training.make_step(networks.loss(config, attention), optimizer)
    return training_loop.compile_step(step, fresh, mesh, libraries=networks.libraries())


def plan(config: Config, progress: Progress) -> None:
    """Prints the trainings and what they and the draws cost; computes nothing."""
    seeds = len(config.seeds)
    trained = drawn = 0.0
    for attention in ATTENTIONS:
        each = networks.forward_flops(config, attention, config.frames, config.side)
        trained += networks.spent(config, attention)
        drawn += config.samples * config.sampling_steps * each
        of = f"{networks.parameters(config, attention):,} parameters, {each:.3g} operations per clip"
        progress.line(f"{attention} attention: {of}, {networks.steps(config, attention)} steps of {config.batch} clips per seed")
    rollouts = 2 * config.long_samples * config.long * config.frames * (config.sampling_steps + 1) * networks.cached_flops(config)
    total = seeds * (trained + drawn + rollouts)
    progress.line(
        f"{seeds} seeds: training {seeds * trained:.3g} operations, clips {seeds * drawn:.3g}, long rollouts {seeds * rollouts:.3g}"
    )
    progress.line(f"in all {total:.3g} operations: {formatting.planned(total)}, and the costs are timed")
