"""Options of the command `serve`."""

import dataclasses
import importlib.util
from typing import Annotated

import tyro

from gendiff.commands.drawing_options import SAMPLERS, option
from gendiff.commands.text_to_image.options import FROM_NOISE, ModelOptions
from gendiff.core import extras
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.registry import Late, Tool

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


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


def check(options: ServeOptions) -> None:
    """ConfigError for numbers that cannot be, and for packages that are missing."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(extras.needs("serve needs", missing[0].replace("_", "-"), "serve"))
    for name, low, high in (("port", 0, 65535), ("together", 1, 256), ("queue", 1, 10_000), ("most_steps", 1, 10_000)):
        value = getattr(options, name)
        if not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} {value} is outside {low} … {high}")
    if options.sampler is not None:
        ranges.known("sampler", [options.sampler], SAMPLERS)
    options.refuse_without_folder()


COMMAND = Tool(
    ServeOptions,
    Late("gendiff.commands.serve.command"),
    "Draws pictures of prompts for others over HTTP, requests of all kinds together, with a page to try it.",
    check=check,
)
