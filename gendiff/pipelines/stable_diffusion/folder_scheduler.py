"""The scheduler of a folder, with what its pipeline changes of the configuration."""

from gendiff.core import foreign_files
from gendiff.core.errors import DataError
from gendiff.core.types import Config
from gendiff.pipelines import diffusers_schedulers
from gendiff.pipelines.diffusers_schedulers import configurations
from gendiff.pipelines.diffusers_schedulers.scheduler import Scheduler
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.pipelines.stable_diffusion.model_index import ModelIndex
from gendiff.weights import files

NAME = "scheduler_config.json"
OUTDATED: Config = {"steps_offset": 1, "clip_sample": False}
"""What the pipelines of Stable Diffusion 1 and 2 take for these fields, whatever an old file says."""


def read(index: ModelIndex, *, like_diffusers: bool = False) -> tuple[Scheduler, tuple[str, ...]]:
    """Read the scheduler_config.json of a folder.

    The class is that of the model_index.json, as in diffusers. Latents have no bounds, so clipping is refused, except
    where the pipelines of Stable Diffusion 1 and 2 turn it off themselves.

    Args:
        index: of the folder.
        like_diffusers: as for `diffusers_schedulers.from_config`.

    Returns:
        The scheduler, and what was changed of its configuration, in words.

    Raises:
        DataError: path first, for a missing or damaged file, and a field without a match.
    """
    folder = index.folder / "scheduler"
    name = index.parts["scheduler"]
    config = {**files.load_config(folder, NAME), "_class_name": name}
    notes = []
    if index.kind is model_index.STABLE:
        defaults = configurations.DEFAULTS[name]
        for field, value in OUTDATED.items():
            written = config.get(field, defaults.get(field, value))
            if field in defaults and written != value:
                config[field] = value
                notes.append(f"scheduler: {field} is {value}, as {index.pipeline} takes it, and not {written}")
    with foreign_files.naming(folder / NAME):
        scheduler = diffusers_schedulers.from_config(config, like_diffusers=like_diffusers)
    fields = scheduler.configuration.fields
    for field in ("clip_sample", "thresholding"):
        if fields.get(field):
            raise DataError(f"{folder / NAME}: {field} = true is for pictures, and latents have no bounds")
    if index.kind.straight and not scheduler.configuration.straight:
        raise DataError(f"{folder / NAME}: {name} does not follow the straight path of {index.kind.name}")
    if fields.get("use_dynamic_shifting") and not index.kind.straight:
        raise DataError(f"{folder / NAME}: use_dynamic_shifting = true is not supported for {index.pipeline}")
    if unused := scheduler.configuration.unused:
        notes.append(f"scheduler: {name} does not read {', '.join(unused)}")
    return scheduler, tuple(notes)
