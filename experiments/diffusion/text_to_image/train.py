"""The trainings of the text-to-image experiment; each goes on where it was."""

from gendiff.commands.text_to_image import networks
from gendiff.commands.text_to_image.config import Config
from gendiff.commands.text_to_image.drawings import latents
from gendiff.runs.progress import Progress
from gendiff.runs.run_folder import RunFolder


def train(config: Config, folder: RunFolder, progress: Progress) -> None:
    """The networks of drawings, which the `text-to-image` command draws from, then those of scenes."""
    latents.train(config, folder, progress)
    networks.train(config, folder, progress)
