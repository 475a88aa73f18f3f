"""The parameters of a model in a folder of diffusers, read part by part; each part says its time, and what its storage
loses.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import jax

from gendiff import networks
from gendiff.core import foreign_files
from gendiff.core.types import Params
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Opened, adapters
from gendiff.runs.progress import Progress
from gendiff.runs.reporting import formatting
from gendiff.weights import lora_files, packed_reading, quantised
from gendiff.weights.quantised.packed_reading import OnPacked, Rounding


def by_part(
    model: Opened, progress: Progress, names: Collection[str] | None = None, lora: Sequence[tuple[str, float]] = ()
) -> dict[str, Params]:
    """By the names of the parts.

    names: of some parts; None reads all. lora: files that change them, with their strengths; they are read first, so
        that one that does not fit is refused before any part is read.
    """
    parts, changes = {}, []
    for file, strength in lora:
        with progress.phase(f"read {Path(file).name}"):
            changes.append((lora_files.load(foreign_files.expanded(file), adapters.adaptable(model)), strength))
    for name in model.parts if names is None else names:
        lost: list[Rounding] = []
        with progress.phase(f"read {name}"):
            parts[name] = jax.block_until_ready(model.part_params(name, _into(lost)))
        if model.storage == "as-file" and name != "vae":
            numbers, nbytes = networks.count(parts[name]), formatting.scaled(quantised.nbytes(parts[name]), "B")
            progress.line(f"{name}: {numbers:,} numbers in {nbytes}, as their file has them")
        if lost:
            total = packed_reading.together(lost)
            progress.line(
                f"{name}: {total.numbers:,} numbers as {model.storage}, off by {total.relative:.2%} of their root mean "
                "square"
            )
    for (file, _), (trees, strength) in zip(lora, changes, strict=True):
        with progress.phase(f"merge {Path(file).name}"):
            parts = jax.block_until_ready(adapters.with_lora(model, parts, trees, strength))
    return parts


def _into(lost: list[Rounding]) -> OnPacked:
    return lambda _, rounding: lost.append(rounding)


def for_pipeline(model: Opened, progress: Progress, lora: Sequence[tuple[str, float]] = ()) -> dict[str, Params]:
    """As pipelines take them. lora: as of `by_part`."""
    return stable_diffusion.arranged(by_part(model, progress, lora=lora))
