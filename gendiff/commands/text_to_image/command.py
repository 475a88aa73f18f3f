"""The command `text-to-image`: pictures of a prompt by a network that comes along, in a file of one's own, or in a
folder of diffusers.
"""

from pathlib import Path

from gendiff.commands.text_to_image import drawing, folder, networks, options, published, texts
from gendiff.commands.text_to_image.options import CommandOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import compile_cache
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue

GALLERY = {
    networks.EMOJI: (
        "cat face",
        "sun",
        "deciduous tree",
        "lemon",
        "doughnut",
        "purple heart",
        "smiling face with sunglasses",
        "flag: France",
    ),
    networks.FROZEN: (
        "a small red circle at the top left",
        "a large green square at the bottom right",
        "a small yellow cross at the top right",
        "a large white triangle at the bottom left",
        "a small red circle at the top left and a large blue triangle at the bottom right",
        "a large cyan square at the top right and a small magenta cross at the bottom left",
    ),
}
"""The demonstration's prompts: names of emoji, which training has shown, and scenes.

Red circles, green squares, blue triangles and yellow crosses are in no training picture of scenes."""


def call(chosen: CommandOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises as `published.read`, `drawing.draw` and `folder.draw` do."""
    chosen = options.renamed(chosen, progress)
    if chosen.folder is not None:
        folder.draw(chosen, chosen.folder, progress)
        return
    texts.check()
    out, file, sheet = options.check(chosen, Path()), published.file_of(chosen.model), chosen.sheet_option
    compile_cache.use(chosen.program_cache, say=progress.line)
    trained, about = published.read(file)
    progress.line(f"{file.name}: {about.data}")
    origin = {
        "model": file.name,
        "trained_seed": about.trained_seed,
        "checkpoint": about.checkpoint,
        "sha256": about.sha256,
    }
    if sheet is None:
        drawing.draw(trained, frozenset(about.words), chosen, out, origin, progress)
        return
    prompts = (
        GALLERY.get(trained.name, ())
        if chosen.gallery
        else [text.strip() for text in chosen.prompt.split("|") if text.strip()]
    )
    if not prompts:
        raise ConfigError(f"--{sheet}: there are no prompts for the network of {file.name}: give --prompt")
    drawing.draw_sheet(trained, prompts, frozenset(about.words), chosen, out, origin, progress)
