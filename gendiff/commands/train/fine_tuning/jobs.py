"""What training and judging share: the opened model, its parameters, pictures and captions as arrays, and the
numbers.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax

from gendiff import networks
from gendiff.commands.text_to_image.options import check_folder
from gendiff.commands.train import data_paths, named_networks, opened_pictures, plan
from gendiff.commands.train.config import Config, Numbers
from gendiff.commands.train.fine_tuning import captioned_pictures, options
from gendiff.commands.train.fine_tuning.captioned_pictures import CaptionedPictures
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params
from gendiff.data import random_access
from gendiff.networks import lora
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Opened, PromptPipeline, model_index
from gendiff.runs import configuration, devices
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder

FILE = "fine_tuning.json"
PATHS = (
    r"attention/block_\d+/(qkv|output|cross_query|cross_key_value|cross_output)/kernel$"
    r"|^(single_|image_|text_)?block_\d+/(own_|stream_1_)?(qkv|qkv_mlp|key_value|output)/kernel$"
)
"""The kernels that learn a change: all of attention, which is what most files of LoRA change."""
OTHERS = (model_index.XL, model_index.CLASSES)
"""The models that learn none."""
SAME = {"fingerprint": "pictures or captions", "model": "settings of the model", "size": "size of the pictures"}
"""Facts that stay as they were when a run began, in words."""


@dataclasses.dataclass(frozen=True)
class JobFacts:
    """fine_tuning.json, written when a run begins. fingerprint: of pictures and captions. model: of the settings of its
    parts.
    """

    fingerprint: str
    model: str
    training: int
    held_out: int
    size: int
    numbers: Numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """One model and the pictures that it learns from.

    pipeline: with the model's own scheduler, for pictures of the size that is learned. like: shapes of the network's
        parameters.
    """

    config: Config
    model: Opened
    pipeline: PromptPipeline
    training: CaptionedPictures
    held_out: CaptionedPictures
    facts: JobFacts
    like: Params

    @functools.cached_property
    def init(self) -> Callable[[jax.Array], Params]:
        """From a key to a change that changes nothing yet."""
        rank, like = options.rank_of(self.config), self.like
        return lambda key: lora.start(key, like, rank, PATHS)


def prepared(config: Config, folder: RunFolder | None, progress: Progress) -> Job:
    """The model without parameters, and the pictures. folder: of the run, which keeps what they are; None keeps
    nothing.

    Raises ConfigError for options that do not fit, and DataError for the model, pictures and captions, and where they
    are others than when the run began.
    """
    model = _model(config, progress)
    size = config.size or min(model.size or (512, 512))
    if size % model.multiple:
        raise ConfigError(
            f"--size {size} must be a multiple of {model.multiple}, as "
            f"{max(1, size // model.multiple) * model.multiple} is"
        )
    opened_pictures.check_apart(data_paths.resolve(config.data[0]), folder)
    with progress.phase("open pictures"):
        training, kept_out = captioned_pictures.opened(config, size, progress)
    progress.line(
        f"{config.data[0]}: {len(training)} pictures to learn from and {len(kept_out)} held out, {size} × {size}, with "
        "captions"
    )
    numbers = options.numbers(config, len(training), plan.devices()[1])
    of_model = random_access.fingerprint(*(repr(sorted(part.config.items())) for part in model.parts.values()))
    facts = JobFacts(
        captioned_pictures.fingerprint(training, kept_out), of_model, len(training), len(kept_out), size, numbers
    )
    like = model.parts[model.network_name].shapes(model.dtype)
    job = Job(
        config,
        model,
        model.pipeline(config.sampling_steps, size, size),
        training,
        kept_out,
        facts if folder is None else configuration.first_facts(folder.path / FILE, facts, SAME),
        like,
    )
    try:
        jax.eval_shape(job.init, jax.random.key(0))
    except ValueError as error:
        raise ConfigError(f"--lora {config.lora}: {error}") from error
    return job


def learned_file(folder: RunFolder, seed: int) -> Path:
    """Where the change lies that a seed has learned, for diffusers and for `text-to-image --lora`."""
    return folder.path / f"lora_seed_{seed}.safetensors"


def dry_run(config: Config, progress: Progress) -> None:
    """Says what would be learned from what. It opens the model and the pictures, and computes nothing."""
    job = prepared(config, None, progress)
    for line in lines(job):
        progress.line(line)


def lines(job: Job) -> list[str]:
    """On the training."""
    change, numbers = jax.eval_shape(job.init, jax.random.key(0)), job.facts.numbers
    total, trained = networks.count(job.like), networks.count(change)
    return [
        f"rank {job.config.lora}: {trained / 1e6:.3g} M parameters learn beside {total / 1e6:.4g} M of the network, "
        "which stay",
        f"{numbers.steps} steps of {numbers.batch} pictures ({numbers.steps * numbers.batch / len(job.training):.3g} "
        f"passes), learning rate {numbers.learning_rate:g}",
    ]


def _model(config: Config, progress: Progress) -> Opened:
    devices.local()
    folder = options.folder_of(config)
    check_folder(str(config.model))
    try:
        model = stable_diffusion.open_model(folder, dtype=config.dtype, remat=named_networks.REMAT[config.remat])
    except ImportError as error:
        raise ConfigError(str(error)) from error
    if model.index.kind in OTHERS or model.paints:
        kind = f"{model.index.kind.name}{' for inpainting' if model.paints else ''}"
        raise ConfigError(
            f"--model {folder}: holds {kind}, and --lora trains Stable Diffusion 1, 2 and 3, FLUX and Z-Image"
        )
    for note in model.notes:
        progress.line(f"note: {note}")
    return model
