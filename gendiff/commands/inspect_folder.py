"""The command `inspect`: what a folder of diffusers holds, its sizes, and what would be refused and why. No weights are
loaded.

gendiff inspect DIR
"""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import tyro

from gendiff.commands.text_to_image.options import PICTURES
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError, DataError
from gendiff.runs import errors
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue, Tool

if TYPE_CHECKING:
    from gendiff.pipelines.stable_diffusion import Inspection
    from gendiff.pipelines.stable_diffusion.inspection import PartReport


@dataclasses.dataclass(frozen=True)
class InspectOptions:
    """Say what a folder of diffusers holds, how large it is, and what of it would be refused and why, without loading
    it.
    """

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """A folder with a model_index.json."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """A single file of the same model, .safetensors or .gguf, which takes the place of weights of the folder."""
    variant: str | None = None
    """Which files of weights, such as fp16; None takes those without a variant, or the only ones."""


def call(options: InspectOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises DataError with the first problem of a folder that would be refused, after all are shown."""
    path = foreign_files.expanded(options.folder)
    if not path.is_dir():
        hint = errors.hub_hint(options.folder, PICTURES)
        absent = f"no such folder; {hint}" if hint else "no such folder"
        raise DataError(f"{path}: {'not a folder' if path.exists() else absent}")
    from gendiff.pipelines.stable_diffusion import inspect

    try:
        weights = None if options.weights is None else foreign_files.expanded(options.weights)
        inspection = inspect(path, weights=weights, variant=options.variant)
    except (ImportError, ValueError) as error:
        raise ConfigError(str(error)) from error
    for line in lines(inspection):
        print(line)
    if inspection.problems:
        raise DataError(
            inspection.problems[0]
            if len(inspection.problems) == 1
            else f"{path}: {len(inspection.problems)} parts would be refused"
        )


def lines(inspection: "Inspection") -> list[str]:
    """The report."""
    size = "" if inspection.size is None else f", pictures of {inspection.size[0]} × {inspection.size[1]}"
    total = f", {_bytes(inspection.nbytes)} of weights" if inspection.nbytes else ""
    report = [f"{inspection.folder}: {inspection.pipeline or 'no pipeline that is known'}{size}{total}"]
    report += [f"  {_part(part)}" for part in inspection.parts]
    report += [f"  {name}: left out: {why}" for name, why in inspection.skipped]
    report += [f"  note: {note}" for note in inspection.notes]
    report += [f"  refused: {problem}" for problem in inspection.problems]
    return [*report, "it would be refused" if inspection.problems else "it can be loaded"]


COMMAND = Tool(InspectOptions, call, "What does a folder of diffusers hold, and can it be drawn with?")


def _part(part: "PartReport") -> str:
    if not part.files:
        return f"{part.name}: {part.kind}"
    held = f"{part.parameters:,} numbers, {_bytes(part.nbytes)}, {' and '.join(part.types)}"
    return (
        f"{part.name}: {part.kind}, {held}, in {part.files[0] if len(part.files) == 1 else f'{len(part.files)} files'}"
    )


def _bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
