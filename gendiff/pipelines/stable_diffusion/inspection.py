"""What a folder holds, how large it is, and what of it would be refused and why. No array is read for it."""

import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gendiff.core.errors import CheckpointMismatchError, DataError
from gendiff.pipelines.stable_diffusion import model_index
from gendiff.pipelines.stable_diffusion.model_index import ModelIndex

if TYPE_CHECKING:
    from gendiff.pipelines.stable_diffusion.model_parts import SingleFile


@dataclasses.dataclass(frozen=True)
class PartReport:
    """One part of a folder.

    Args:
        name: as in "unet".
        kind: its class.
        files: names of the files of its weights.
        nbytes: of its arrays.
        parameters: how many numbers these hold.
        types: of its arrays, by their names in NumPy or GGUF.
        problem: why it would be refused; empty where it is not.
    """

    name: str
    kind: str
    files: tuple[str, ...] = ()
    nbytes: int = 0
    parameters: int = 0
    types: tuple[str, ...] = ()
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `inspect` finds.

    Args:
        folder: the folder.
        pipeline: the class that its model_index.json names; empty where that cannot be read.
        parts: its parts.
        skipped: (name, why) of parts that are left out.
        notes: what is taken in another way than the files say.
        size: height and width of its pictures, where it tells.
        problems: why it would be refused, those of its parts included. Empty: it can be loaded.
    """

    folder: Path
    pipeline: str = ""
    parts: tuple[PartReport, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    problems: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(part.nbytes for part in self.parts)


def inspect(
    path: str | os.PathLike[str], *, weights: str | os.PathLike[str] | None = None, variant: str | None = None
) -> Inspection:
    """Look at a folder of diffusers: it reads configurations, and names, shapes and types of arrays.

    Each part is looked at by itself, so that one bad part does not hide the next one.

    Args:
        path: the folder.
        weights: as for `opened.open_model`.
        variant: as for `opened.open_model`.

    Raises:
        ImportError: without the package of the extra `text`, for a model that reads prompts.
    """
    try:
        index = model_index.read(path)
        from gendiff.pipelines.stable_diffusion import fitting_parts, model_parts  # load JAX

        single = model_parts.open_single(index, weights, variant)
    except (DataError, CheckpointMismatchError) as error:
        return Inspection(Path(path), problems=(str(error),))
    reports: list[PartReport] = []
    opened: dict[str, Any] = {}  # what a part is read as, by its name
    for name in sorted(index.parts):  # text encoders come before the network that is told of them
        pooled = getattr(opened["text_encoder_2"].network, "projection", None) if "text_encoder_2" in opened else None
        report, part = _part(index, name, variant, single, pooled)
        reports.append(report)
        if part is not None:
            opened[name] = part
    result = Inspection(
        Path(path),
        index.pipeline,
        tuple(reports),
        tuple((name, model_index.SKIPPED[name]) for name in index.skipped),
        problems=tuple(report.problem for report in reports if report.problem),
    )
    if result.problems:
        return result
    parts = {name: part for name, part in opened.items() if isinstance(part, model_parts.Part)}
    try:
        fitting_parts.check(index, parts, [opened[name] for name in model_parts.TOKENIZERS if name in opened])
    except DataError as error:
        return dataclasses.replace(result, problems=(str(error),))
    _, notes = opened["scheduler"]
    return dataclasses.replace(result, notes=notes, size=model_parts.size(index, parts))


def _part(
    index: ModelIndex, name: str, variant: str | None, single: "SingleFile | None", pooled: int | None
) -> tuple[PartReport, Any]:
    """(report, what the part is read as, None where that fails)."""
    from gendiff.pipelines.stable_diffusion import folder_scheduler, model_parts
    from gendiff.weights.quantised.gguf import Packed
    from gendiff.weights.streamed import StoredArray

    report = PartReport(name, index.parts[name])
    if name == "scheduler":
        return _tried(report, lambda: folder_scheduler.read(index))
    if name in model_parts.TOKENIZERS:
        return _tried(report, lambda: model_parts.tokenizer(index, name))
    context = {"pooled_channels": pooled, "penultimate": index.kind.penultimate}
    try:
        part = model_parts.opened(index, name, variant=variant, context=context, single=single)
    except (DataError, CheckpointMismatchError) as error:
        return dataclasses.replace(report, problem=str(error)), None
    arrays = part.arrays.values()
    single_name = set() if part.single is None else {part.single.name}
    report = dataclasses.replace(
        report,
        files=tuple(sorted({array.file.name for array in arrays if isinstance(array, StoredArray)} | single_name)),
        nbytes=sum(array.nbytes for array in arrays),
        parameters=sum(math.prod(array.shape) for array in arrays),
        types=tuple(sorted({array.kind if isinstance(array, Packed) else str(array.dtype) for array in arrays})),
    )
    return _tried(report, part.check)[0], part


def _tried(report: PartReport, read: Callable[[], object]) -> tuple[PartReport, Any]:
    """(report, what is read), or (the report with the error as its problem, None)."""
    try:
        return report, read()
    except (DataError, CheckpointMismatchError) as error:
        return dataclasses.replace(report, problem=str(error)), None
