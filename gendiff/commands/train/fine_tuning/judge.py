"""How a learned change is judged: the denoising error with it and without it, on held-out pictures, and pictures of
held-out captions.

The control has the change and the captions of other pictures: what it loses is what the captions are good for.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.images import folder_params, image_training
from gendiff.commands.train.config import Config
from gendiff.commands.train.fine_tuning import captioned_pictures, jobs, train
from gendiff.commands.train.fine_tuning.captioned_pictures import WORDS, CaptionedPictures
from gendiff.commands.train.fine_tuning.jobs import Job
from gendiff.core.types import Params
from gendiff.data import random_access
from gendiff.diffusion import denoiser, process
from gendiff.networks import lora
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Prompt
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals
from gendiff.runs.reporting.formatting import CellValue
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.run_folder import RunFolder

LOG_SNR = np.array([-4.0, -2.0, 0.0, 2.0, 4.0], np.float32)
"""Where errors are measured; the mean over these is shown."""
SEED, GUIDANCE, SHOWN = 0, 5.0, 4
"""Of noise and pictures; the guidance and the number of captions of the pictures."""
BEFORE, AFTER, OTHERS = "the model as it was", "with the change", "with the change, captions of other pictures"


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Figures and tables, and no verdict: the pictures are the user's own."""
    job = jobs.prepared(config, folder, progress)
    params = folder_params.for_pipeline(job.model, progress)
    sides = {"held out": job.held_out, "learned from": job.training}
    with progress.phase("encode"):
        towers, most, together = job.pipeline.towers, config.level_pictures, config.together
        data = {
            name: captioned_pictures.encoded(job.model, towers, params, _some(part, most), together, progress, name)
            for name, part in sides.items()
        }
    with progress.phase("judge"):
        error = devices.jit(functools.partial(_errors, job))
        shapes = jax.eval_shape(job.init, jax.random.key(0))
        none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        changes = {seed: train.averaged(job, folder, seed) for seed in config.seeds}
        rows: list[tuple[CellValue, ...]] = []
        plain = {name: _measured(error, params["network"], none, some, config.together) for name, some in data.items()}
        rows.append((BEFORE, *(_mean(plain[name]) for name in data), None))
        for seed, change in changes.items():
            losses = {
                name: _measured(error, params["network"], change, some, config.together) for name, some in data.items()
            }
            rows.append(
                (
                    _title(seed, AFTER),
                    *(_mean(losses[name]) for name in data),
                    _gain(plain["held out"], losses["held out"]),
                )
            )
            shuffled = {
                name: some | {word: np.roll(some[word], 1, 0) for word in WORDS if word in some}
                for name, some in data.items()
            }
            other = {
                name: _measured(error, params["network"], change, some, config.together)
                for name, some in shuffled.items()
            }
            rows.append(
                (
                    _title(seed, OTHERS),
                    *(_mean(other[name]) for name in data),
                    _gain(plain["held out"], other["held out"]),
                )
            )
    with progress.phase("sample"):
        grids = _pictures(job, params, changes[config.seeds[0]], folder, progress)
    curves = [image_training.loss_curve(f"seed {seed}", folder, seed) for seed in config.seeds]
    loss = figures.curves(curves, folder.figure("loss"), "Training loss.", x_label="step", y_label="loss")
    return Outcome((), (grids, loss), (_table(rows, job), _learned(job)))


def _errors(
    job: Job, params: Params, change: Params, index: jax.Array, mean: jax.Array, *words: jax.Array
) -> jax.Array:
    """(n,) the squared error of the predicted noise, a mean over levels. Picture i has the same noise at all levels and
    in all calls.
    """
    latent = job.pipeline.latent
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(SEED)))(index)
    noise = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:], jnp.float32))(keys)
    text = train.text(**dict(zip(captioned_pictures.words_of(job.model), words, strict=True)))
    denoise = denoiser.from_network(train.predict(job), lora.unmerged(params, change), latent.parameterization, text)

    def at(log_snr: jax.Array) -> jax.Array:
        level = job.model.scheduler.schedule.at_log_snr(log_snr)
        return jnp.mean(jnp.square(denoise(process.add_noise(mean, noise, level), level).noise - noise), axis=(1, 2, 3))

    return jnp.mean(jax.lax.map(at, jnp.asarray(LOG_SNR)), axis=0)


def _measured(
    error: Callable[..., jax.Array], params: Params, change: Params, data: dict[str, np.ndarray], together: int
) -> np.ndarray:
    words = (data[name] for name in WORDS if name in data)
    aligned = (np.arange(len(data["mean"]), dtype=np.int32), data["mean"], *words)
    parts = drawing.stream(functools.partial(error, params, change), [(None, aligned)], together=together)
    return np.concatenate([np.asarray(part) for *_, part in parts]).astype(np.float64)


def _pictures(job: Job, params: dict[str, Params], change: Params, folder: RunFolder, progress: Progress) -> Figure:
    """Rows of a held-out picture and what its caption gives before and after, from the same noise."""
    model, count = job.model, min(SHOWN, len(job.held_out))
    captions = job.held_out.captions[:count]
    prompt, negative = captioned_pictures.prompt_of(model, captions, progress), model.negative()
    prompt, negative = stable_diffusion.aligned(prompt, negative)
    away, scale = (negative, GUIDANCE) if model.index.kind.guided else (None, job.pipeline.latent.embedded_scale or 1.0)

    @devices.jit
    def draw(params: dict[str, Params], prompt: Prompt, away: Prompt | None, index: jax.Array) -> jax.Array:
        return job.pipeline(params, jax.random.key(SEED), prompt, away, scale, index)

    index = jnp.arange(count)
    before = np.asarray(draw(params, prompt, away, index))
    changed = params | {"network": jax.jit(lora.merge)(params["network"], change)}
    after = np.asarray(draw(changed, prompt, away, index))
    drawing.check_finite(np.concatenate([before, after]), np.arange(2 * count), "pictures of captions")
    rows = np.stack([job.held_out.pictures(range(count)), before, after], 1)
    quoted = "; ".join(f"“{caption}”" for caption in captions)
    text = (
        "A held-out picture, what the model drew of its caption as it was, and with the change, at guidance "
        f"{scale:g}: {quoted}."
    )
    return figures.grid(rows.reshape(-1, *rows.shape[2:]), 3, folder.figure("captions"), text, scale=1)


def _some(part: CaptionedPictures, most: int) -> CaptionedPictures:
    count = min(len(part), most)
    return CaptionedPictures(random_access.subset(part.images, np.arange(count)), part.captions[:count])


def _mean(errors: np.ndarray) -> CellValue:
    return intervals.interval(np.mean, errors)


def _gain(before: np.ndarray, after: np.ndarray) -> CellValue:
    return intervals.interval(intervals.difference_of_means, before, after, paired=True)


def _title(seed: int, words: str) -> str:
    return f"seed {seed}, {words}"


def _table(rows: list[tuple[CellValue, ...]], job: Job) -> Table:
    levels = ", ".join(f"{value:g}" for value in LOG_SNR)
    note = (
        f"Squared error of the noise, a mean over log-SNR {levels}. Less is better. The last column is the error that "
        f"the change takes away on {len(job.held_out)} held-out pictures. Where its interval holds 0, they are too few "
        "to tell."
    )
    return Table(
        "Denoising error", ("", "held out", "learned from", "less than before, held out"), tuple(rows), note, main=True
    )


def _learned(job: Job) -> Table:
    facts, change = job.facts, jax.eval_shape(job.init, jax.random.key(0))
    rows: list[tuple[CellValue, ...]] = [
        ("pictures to learn from", facts.training),
        ("held out", facts.held_out),
        ("size", facts.size),
        ("rank", job.config.lora),
        ("numbers that learn", networks.count(change)),
        ("steps", facts.numbers.steps),
        ("pictures per step", facts.numbers.batch),
    ]
    return Table("What was learned", ("", "number"), tuple(rows))
