"""The command `quantise`: a language model becomes a .gguf file with 4 bits per weight, by GPTQ.

gendiff quantise smollm2 --out small.gguf
gendiff chat --model small.gguf --weights packed
"""

import numpy as np

from gendiff import networks
from gendiff.commands import quantise_options
from gendiff.commands.chat import models
from gendiff.commands.quantise_options import QuantiseOptions
from gendiff.core.errors import DataError
from gendiff.data import text
from gendiff.language.tokens import LanguageTokenizer
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue
from gendiff.weights import calibration, gguf, gguf_llama, gptq, quantised

ROW = 512
"""Tokens of a row of the calibration."""
LETTERS = 8
"""Of a text that are read for each token of a row."""
RULES = (
    *quantised.linear(quantised.int4(32, search=True, scale_dtype="float16")),
    quantised.Packing("^token$", quantised.int8(32), table=True),
)
"""What blocks of Q4_0 and Q8_0 hold."""


def call(options: QuantiseOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Raises DataError for texts that are too short."""
    target = quantise_options.target(options)
    chat, source = models.opened(options.model), models.gguf_file(options.model)
    rows = calibration_rows(chat.tokenizer, options.text, options.rows)
    with progress.phase("calibration"):
        inputs = [(row[None, : chat.network.context],) for row in rows]
        hessians = calibration.hessians(networks.pure(chat.network), chat.params, inputs, RULES)
    with progress.phase("GPTQ"):
        tensors = gguf_llama.tensors(gguf.load(source), gptq.quantise(chat.params, hessians, RULES))
    gguf.save(target, source, tensors)
    bits = 8 * sum(each.blocks.nbytes for each in tensors.values()) / networks.count(chat.params)
    progress.line(f"{target}: {target.stat().st_size / 2**20:.1f} MiB, {bits:.2f} bits per weight")


def calibration_rows(tokenizer: LanguageTokenizer, source: str | None, number: int) -> np.ndarray:
    """Tokens (at most number, ROW) of the beginnings of texts, in a random order. DataError where none is long
    enough.
    """
    texts = (text.python_sources() if source is None else text.read(source)).texts
    rows = list[np.ndarray]()
    for at in np.random.default_rng(0).permutation(len(texts)):
        ids = np.asarray(tokenizer.encode(texts[at][: LETTERS * ROW]), np.int32)[:ROW]
        if len(ids) == ROW and len(rows) < number:
            rows.append(ids)
    if not rows:
        raise DataError(f"{source}: none of {len(texts)} texts has {ROW} tokens, which a calibration needs")
    return np.stack(rows)
