"""Options of the command `serve`."""

import dataclasses
from typing import Annotated

from gendiff.commands.drawing_options import option
from gendiff.commands.text_to_image.options import FROM_NOISE, ModelOptions
from gendiff.runs.registry import Late, Tool


@dataclasses.dataclass(frozen=True)
class ServeOptions(ModelOptions):
    """Draw pictures for others: POST /v1/images/generations in the form of OpenAI's API, and a page to try it at /."""

    host: str = "127.0.0.1"
    """Address to listen at. The default answers this machine alone; another one answers whoever reaches it, without a
    password.
    """
    port: int = 8000
    """0 takes any that is free."""
    together: Annotated[int, option("together")] = 8
    queue: int = 64
    """Most pictures that wait. A request that finds no room is answered 429 and told when to come again."""
    most_steps: int = 100
    """Most steps that a request may ask for."""
    sampler: Annotated[str | None, option("sampler", f"None is {FROM_NOISE.sampler}, or that of a folder.")] = None


COMMAND = Tool(
    ServeOptions,
    Late("gendiff.commands.serve.command"),
    "Draws pictures of prompts for others over HTTP, requests of all kinds together, with a page to try it.",
)
