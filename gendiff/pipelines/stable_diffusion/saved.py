"""Back again: parameters of ours as a folder that diffusers loads."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import safetensors.numpy

from gendiff.core.errors import DataError
from gendiff.core.types import Params
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.pipelines.stable_diffusion.model_parts import CONFIG, TOKENIZERS, TOWERS
from gendiff.pipelines.stable_diffusion.opened import Opened

TEXTS = (".json", ".txt", ".jinja")
"""Files of tokenizers and schedulers."""


def save(path: str | os.PathLike[str], model: Opened, params: Mapping[str, Params]) -> None:
    """Write a folder with other parameters.

    Configurations, tokenizers and scheduler are those of the folder that was opened. Parts that are left out here, such
    as a safety checker, are left out there: the new model_index.json has null in their place.

    Args:
        path: the new folder, which must not hold a model.
        model: the folder that was opened.
        params: as `Opened.params` gives them, in the dtype to write.

    Raises:
        DataError: path first, for a folder that holds a model.
        CheckpointMismatchError: path first, for parameters of other networks.
    """
    target, source = Path(path), model.index.folder
    if (target / model_index.NAME).exists():
        raise DataError(f"{target}: holds a model: name another folder")
    parts = {name: params["text"][name] for name in TOWERS if name in model.parts}
    parts |= {model.network_name: params["network"], "vae": params["autoencoder"]}
    arrays = {name: model.parts[name].theirs(part) for name, part in parts.items()}
    for name, stored in arrays.items():
        (target / name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name / CONFIG, target / name / CONFIG)
        safetensors.numpy.save_file(
            stored, target / name / f"{model.parts[name].reader.stem}.safetensors", {"format": "pt"}
        )
    for name in ("scheduler", *TOKENIZERS):
        if name in model.index.parts:
            (target / name).mkdir(exist_ok=True)
            for file in sorted(source.joinpath(name).iterdir()):
                if file.suffix in TEXTS and file.is_file():
                    shutil.copyfile(file, target / name / file.name)
    model_index.write(model.index, target / model_index.NAME)  # last, so that a folder with it is whole
