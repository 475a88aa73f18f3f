"""The training: only the change learns, and the parameters of the model are an argument of the step that stays."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff import networks, training
from gendiff.commands.images import folder_params, image_training
from gendiff.commands.images.image_training import Learning
from gendiff.commands.train.config import Config
from gendiff.commands.train.fine_tuning import captioned_pictures, jobs
from gendiff.commands.train.fine_tuning.jobs import Job
from gendiff.core.types import ArrayLike, Metrics, Params
from gendiff.diffusion import objectives, weighting
from gendiff.diffusion.types import Batch, Predict
from gendiff.networks import lora
from gendiff.pipelines.stable_diffusion import adapters
from gendiff.runs import distributed, meshes, training_loop
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder
from gendiff.training import CompiledStep, sharding
from gendiff.training.compile_step import INIT
from gendiff.weights import lora_files


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """One change per seed, each in a file of its own."""
    job = jobs.prepared(config, folder, progress)
    for line in jobs.lines(job):
        progress.line(line)
    params, towers = folder_params.for_pipeline(job.model, progress), job.pipeline.towers
    with progress.phase("encode"):
        data = captioned_pictures.encoded(
            job.model, towers, params, job.training, config.together, progress, "pictures and captions"
        )
        empty = captioned_pictures.nothing(job.model, towers, params)
    network = params["network"]
    del params  # text encoders and autoencoder have done their work
    mesh, numbers = meshes.build(folder.mesh, ()), job.facts.numbers
    run = programs(job, sharding.replicate(network, mesh), sharding.replicate(empty, mesh), mesh)
    for seed in config.seeds:
        training_loop.train(
            run,
            data,
            seed=seed,
            steps=numbers.steps,
            batch=numbers.batch,
            folder=folder,
            progress=progress,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
        )
        if distributed.first():
            file = jobs.learned_file(folder, seed)
            file.unlink(missing_ok=True)
            lora_files.save(file, {job.model.network_name: averaged(job, folder, seed)}, adapters.adaptable(job.model))
            progress.line(f"seed {seed}: {file}")


def averaged(job: Job, folder: RunFolder, seed: int) -> Params:
    """The average of the change of a seed."""
    return training_loop.restore_ema(job.init, folder, seed=seed, decay=job.config.ema)


def programs(job: Job, params: Params, empty: networks.Text, mesh: jax.sharding.Mesh) -> CompiledStep:
    """What `training_loop.train` runs. params: of the network. empty: the empty caption."""
    config, numbers = job.config, job.facts.numbers
    learning = Learning(
        train_steps=numbers.steps,
        batch=numbers.batch,
        learning_rate=numbers.learning_rate,
        warmup=min(config.warmup, numbers.steps // 10),
        weight_decay=config.weight_decay,
        clip=config.clip,
        ema=config.ema,
        drop_condition=config.drop_condition,
    )
    optimizer = image_training.optimizer(learning)

    def fresh(key: jax.Array) -> training.TrainState:
        return training.start(job.init(jax.random.fold_in(key, INIT)), optimizer, key, (config.ema,))

    return training_loop.compile_step(training.make_step(loss(job), optimizer), fresh, mesh, frozen=(params, empty))


def loss(job: Job) -> Callable[..., tuple[jax.Array, Metrics]]:
    """(change, key, {"mean", "std", …}, params, empty) -> (scalar, metrics): the squared error of the network's own
    target.
    """
    latent, schedule, drop = job.pipeline.latent, job.model.scheduler.schedule, job.config.drop_condition
    levels = weighting.logit_normal_levels() if job.model.index.kind.straight else None

    def of_change(
        change: Params, key: jax.Array, batch: dict[str, jax.Array], params: Params, empty: networks.Text
    ) -> tuple[jax.Array, Metrics]:
        step_key, rest = jax.random.split(key)
        clean = batch["mean"] + batch["std"] * jax.random.normal(step_key, batch["mean"].shape, jnp.float32)
        denoising = objectives.denoising(
            predict(job), schedule, latent.parameterization, levels=levels, drop_condition=drop, null=empty
        )
        words = text(**{name: batch[name] for name in captioned_pictures.words_of(job.model)})
        return denoising(lora.unmerged(params, change), rest, Batch(clean, (words,)))

    return of_change


def predict(job: Job) -> Predict:
    """The network. One distilled from guidance is told scale 1, at which it answers what others do."""
    network = job.pipeline.latent.predict
    if job.pipeline.latent.embedded_scale is None:
        return network
    return lambda params, x, t, words: network(params, x, t, words, networks.GuidanceScale(jnp.ones((), jnp.float32)))


def text(tokens: ArrayLike, pooled: ArrayLike | None = None, mask: ArrayLike | None = None) -> networks.Text:
    """Without a mask every token counts, padding too, as most models were trained."""
    return networks.Text(tokens, jnp.ones(tokens.shape[:2], bool) if mask is None else mask, pooled)
