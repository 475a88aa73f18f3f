"""Options of the command `chat`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.runs.errors import model_hint
from gendiff.runs.registry import Late, Tool

SMOLLM2 = "smollm2"
"""The model that pip brings."""
GGUF = ".gguf"


Weights = Literal["float32", "int8", "int4", "as-file", "packed"]


@dataclasses.dataclass(frozen=True)
class ChatOptions:
    """Talk to a small language model. Without --prompt it reads what is typed."""

    prompt: str = ""
    """Answer this and end."""
    demo: tyro.conf.FlagCreatePairsOff[bool] = False
    """Ask it one question first, as plain text and in the chat template."""
    system: str = ""
    """What the model is told before the conversation; nothing leaves it to the template."""
    plain: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on with the text itself, without the chat template."""
    temperature: float = 0.0
    """0 takes the likeliest token each time; 1 draws from the model's own distribution."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that hold this share of the probability."""
    max_tokens: int = 256
    """Tokens of an answer, at most."""
    seed: int = 0
    """Seed of what is drawn, from 0 to 2**32 - 1."""
    model: Annotated[str, tyro.conf.arg(metavar="smollm2|PATH")] = SMOLLM2
    """smollm2, a .gguf file, or a folder of transformers (Llama, Mistral, Qwen 2 and 3, Gemma 2 and 3, GPT-2)."""
    lora: Annotated[str, tyro.conf.arg(metavar="FOLDER")] = ""
    """Folder of an adapter, which `tune` or peft wrote."""
    weights: Weights = "float32"
    """int8 rounds each weight to 8 bits: a quarter of the memory, faster, and answers that may differ a little. int4
    rounds linear layers to 4 bits in groups of 32, the table of tokens to 8. as-file computes with the 8 or 16 bits of
    a folder as they are. packed does so with the 2 to 16 bits of a .gguf file, in the least memory."""


def check(options: ChatOptions) -> None:
    """ConfigError for options that are out of range or exclude each other."""
    for name, low, high in (
        ("temperature", 0.0, float("inf")),
        ("top_p", 0.0, 1.0),
        ("max_tokens", 1, 2**31),
        ("seed", 0, 2**32 - 1),
    ):
        value = getattr(options, name)
        if not low <= value <= high:
            ends = ", ".join(f"{end:g}" if isinstance(end, float) else str(end) for end in (low, high))
            raise ConfigError(f"--{name.replace('_', '-')} {value} is outside [{ends}]")
    if options.prompt and options.demo:
        raise ConfigError("--demo asks a question of its own and then reads what is typed: leave out --prompt")
    check_adapter(options.lora)
    if options.plain and options.system:
        raise ConfigError("--plain has no template that could hold --system: leave out one of them")


def check_adapter(lora: str) -> None:
    """ConfigError where --lora names nothing that is there."""
    if lora and not foreign_files.expanded(lora).exists():
        raise ConfigError(f"--lora {lora}: no such folder; give the one that `tune` or peft wrote, such as runs/tune")


def model_path(model: str) -> Path:
    """The file or folder of a model of one's own. ConfigError where there is none."""
    path = foreign_files.expanded(model)
    if not path.exists():
        raise ConfigError(
            f"--model {model} is no file or folder; {model_hint(model, [SMOLLM2], 'Llama, Mistral, Qwen, Gemma')}"
        )
    if path.is_file() and path.suffix.lower() != GGUF:
        raise ConfigError(f"--model {model}: a {GGUF} file, a folder of transformers, or {SMOLLM2} is needed")
    return path


COMMAND = Tool(
    ChatOptions,
    Late("gendiff.commands.chat.command"),
    "A small language model answers, once or in a conversation.",
    check=check,
)
