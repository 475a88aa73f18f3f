"""Options of the command `quantise`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from gendiff.commands.chat.chat_options import GGUF, SMOLLM2
from gendiff.core import foreign_files
from gendiff.core.errors import ConfigError
from gendiff.runs import run_folder
from gendiff.runs.registry import Late, Tool


@dataclasses.dataclass(frozen=True)
class QuantiseOptions:
    """Write a language model as a .gguf file with 4 bits per weight, and 8 of the table of tokens (Q4_0 and Q8_0).

    GPTQ rounds the weights so that outputs on real text change least.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="smollm2|FILE.gguf")]
    """smollm2, or a .gguf file of the family of Llama."""
    out: Annotated[str, tyro.conf.arg(metavar="FILE.gguf")]
    """The file that is written; `chat --model FILE.gguf --weights packed` reads it, and llama.cpp does."""
    text: Annotated[str | None, tyro.conf.arg(metavar="FOLDER|FILE")] = None
    """Texts of the calibration, such as those that the model is for; None takes the sources of Python's library."""
    rows: int = 32
    """How many of them are read, the first 512 tokens of each."""


def target(options: QuantiseOptions) -> Path:
    """The file that is written. ConfigError for options out of range, and a file that cannot be written."""
    if not 1 <= options.rows <= 4096:
        raise ConfigError(f"--rows {options.rows} is outside [1, 4096]")
    if options.model != SMOLLM2 and not foreign_files.expanded(options.model).is_file():
        raise ConfigError(f"{options.model} is no file: give {SMOLLM2}, or a {GGUF} file")
    file = foreign_files.expanded(options.out)
    if file.suffix.lower() != GGUF or not file.parent.is_dir() or file.exists():
        raise ConfigError(f"--out {options.out} must be a new {GGUF} file in a folder that is there")
    run_folder.check_writable(file.parent, "choose another --out")
    return file


COMMAND = Tool(
    QuantiseOptions,
    Late("gendiff.commands.quantise_model"),
    "A language model in 4 bits per weight, by GPTQ.",
    check=target,
)
