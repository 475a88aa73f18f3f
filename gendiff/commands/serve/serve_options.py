"""Options of the command `serve`."""

import dataclasses
import importlib.util
from typing import Annotated, get_args

import tyro

from gendiff.commands.chat.chat_options import Weights, check_adapter
from gendiff.commands.drawing_options import SAMPLERS, option
from gendiff.commands.text_to_image.options import FROM_NOISE, ModelOptions
from gendiff.core import extras
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.registry import Late, Tool

OF_TEXTS = ("context", "most_tokens", "cache_tokens", "guesses")
OF_PICTURES = ("model", "height", "width", "variant", "dtype", "storage", "most_steps", "references", "sampler")
NEEDED = ("fastapi", "uvicorn", "prometheus_client")


@dataclasses.dataclass(frozen=True)
class ServeOptions(ModelOptions):
    """Draw pictures for others, or with --chat write texts: over HTTP, in the form of OpenAI's API.

    POST /v1/images/generations draws, and a page to try it is at /. With --chat POST /v1/chat/completions answers.
    """

    host: str = "127.0.0.1"
    """Address to listen at. The default answers this machine alone; another one needs --api-key-file or --open."""
    port: int = 8000
    """0 takes any that is free."""
    api_key_file: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Whose lines are keys, one of which each request must send as Authorization: Bearer KEY."""
    open: tyro.conf.FlagCreatePairsOff[bool] = False
    """Answer whoever reaches --host, without a key."""
    access_log: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Gets a line of JSON for each request."""
    together: int = 8
    """Samples drawn at a time, which changes memory and speed only. With --chat: replies written at a time; a step
    costs the same for one as for that many.
    """
    queue: int = 64
    """Most pictures or replies that wait. A request that finds no room is answered 429 and told when to come again."""
    most_steps: int = 100
    """Most steps that a request may ask for."""
    references: int = 2
    """With a folder of FLUX.1 Kontext or FLUX.2: most pictures that a request may have read beside its prompt, at most
    those of the model. Each number of pictures is a program of its own, which the start compiles.
    """
    sampler: Annotated[str | None, option("sampler", f"None is {FROM_NOISE.sampler}, or that of a folder.")] = None
    chat: Annotated[str | None, tyro.conf.arg(metavar="smollm2|PATH")] = None
    """Serve a language model in place of pictures: what --model of `chat` takes."""
    lora: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE[:STRENGTH] …")] = ()
    """With a folder: LoRA files, as of `text-to-image`. With --chat: the folder of one adapter, as of `chat`."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE|float32|int8|int4|as-file|packed")] = None
    """With a folder: a single file of the same model, as of `text-to-image`. With --chat: one of the words, as of
    `chat`; None is float32.
    """
    context: int = 4096
    """With --chat: most tokens of a prompt and its reply together, at most those of the model."""
    most_tokens: int = 1024
    """With --chat: most tokens of a reply."""
    cache_tokens: int = 8192
    """With --chat: tokens for which the cache has room, of all replies that are being written."""
    guesses: int = 0
    """With --chat: tokens that are guessed at once where a text repeats itself (speculative decoding by prompt lookup),
    2 to 15, or 0 for none. Replies stay the same but for rounding; 7 is fast where they copy from their prompts.
    """


def check(options: ServeOptions) -> None:
    """ConfigError for numbers that cannot be, and for packages that are missing."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(extras.needs("serve needs", missing[0].replace("_", "-"), "serve"))
    for name, low, high in (
        ("port", 0, 65535),
        ("together", 1, 256),
        ("queue", 1, 10_000),
        ("most_steps", 1, 10_000),
        ("references", 0, 10),
        ("context", 2, 2**20),
        ("most_tokens", 1, 2**20),
        ("cache_tokens", 2, 2**30),
        ("guesses", 0, 15),
    ):
        value = getattr(options, name)
        if not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} {value} is outside {low} … {high}")
    if options.guesses == 1:
        raise ConfigError("--guesses 1 never pays: take 2 … 15, or 0 for none")
    fields = {field.name: field for field in dataclasses.fields(options)}
    other, which = (
        (OF_TEXTS, "is for --chat") if options.chat is None else (OF_PICTURES, "is for pictures, not for --chat")
    )
    for name in other:
        if getattr(options, name) != fields[name].default:
            raise ConfigError(f"--{name.replace('_', '-')} {which}")
    if options.sampler is not None:
        ranges.known("sampler", [options.sampler], SAMPLERS)
    if options.chat is None:
        options.refuse_without_folder()
        if options.weights is not None or options.lora:
            from gendiff.commands.text_to_image import folder_options  # needs JAX

            folder_options.check_files(options)
        return
    if options.weights is not None:
        ranges.known("weights", [options.weights], get_args(Weights))
    if len(options.lora) > 1:
        raise ConfigError(f"--lora names {len(options.lora)} adapters, and --chat takes one")
    for adapter in options.lora:
        check_adapter(adapter)


COMMAND = Tool(
    ServeOptions,
    Late("gendiff.commands.serve.command"),
    "Draws pictures of prompts, or answers chats, over HTTP, requests of all kinds together, in OpenAI's form.",
    check=check,
)
