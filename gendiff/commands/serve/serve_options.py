"""Options of the command `serve`."""

import dataclasses
from typing import Annotated

import tyro

from gendiff.commands.drawing_options import option
from gendiff.commands.text_to_image.options import FROM_NOISE, ModelOptions
from gendiff.runs.registry import Late, Tool


@dataclasses.dataclass(frozen=True)
class ServeOptions(ModelOptions):
    """Draw pictures for others: POST /v1/images/generations in the form of OpenAI's API, and a page to try it at /."""

    host: str = "127.0.0.1"
    """Address to listen at. The default answers this machine alone; another one needs --api-key-file or --open."""
    port: int = 8000
    """0 takes any that is free."""
    api_key_file: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Whose lines are keys, one of which each request must send as Authorization: Bearer KEY."""
    open: tyro.conf.FlagCreatePairsOff[bool] = False
    """Draw for whoever reaches --host, without a key."""
    access_log: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Gets a line of JSON for each request."""
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
