"""The command `text-to-image`: pictures of a prompt by a network that comes along, in a file of one's own, or in a folder of diffusers."""

from pathlib import Path

from gendiff.commands.text_to_image import drawing, folder, networks, options, published, texts
from gendiff.commands.text_to_image.options import CommandOptions
from gendiff.core.errors import ConfigError
from gendiff.runs import compile_cache
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue, Tool

GALLERY = {
    networks.EMOJI: (
        "a smiling sun wearing sunglasses",
        "a red cat",
        "a blue apple",
        "a green heart",
        "a crying face",
        "a cat with heart eyes",
        "flag of France",
        "a purple car",
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
"""The demonstration's prompts. Red circles, green squares, blue triangles and yellow crosses are in no training picture of scenes."""


def call(chosen: CommandOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises ConfigError for options that do not fit, and as `published.read`, `drawing.draw` and `folder.draw` do."""
    if chosen.folder is not None:
        folder.draw(chosen, chosen.folder, progress)
        return
    chosen.refuse_without_folder()
    texts.check()
    if chosen.gallery:
        for name in ("prompt", "negative", "init", "export"):
            if getattr(chosen, name):
                raise ConfigError(f"--gallery draws prompts of its own from noise: leave out --{name}, or --gallery")
    else:
        options.check_prompt(chosen)
    out, file = options.check(chosen, Path()), published.file_of(chosen.model)
    compile_cache.use(chosen.program_cache, say=progress.line)
    trained, about = published.read(file)
    progress.line(f"{file.name}: {about.data}")
    origin = {"model": file.name, "trained_seed": about.trained_seed, "checkpoint": about.checkpoint, "sha256": about.sha256}
    if not chosen.gallery:
        drawing.draw(trained, frozenset(about.words), chosen, out, origin, progress)
    elif trained.name in GALLERY:
        drawing.draw_rows(trained, GALLERY[trained.name], chosen, out, origin, progress)
    else:
        raise ConfigError(f"--gallery: there are no prompts for the network of {file.name}: give --prompt")


COMMAND = Tool(CommandOptions, call, "Pictures of a prompt, by a network that comes with the package or by a folder of diffusers.")
