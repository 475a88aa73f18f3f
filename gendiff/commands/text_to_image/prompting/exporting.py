"""The whole pipeline as one file that any process with JAX runs: text encoder, network, guidance, sampler and decoder, parameters within.

The program is StableHLO, lowered for cpu, cuda and tpu. It takes (ids, mask, negative ids, negative mask, seed, guidance, index), the
texts as (1, 24) arrays, seed and guidance as numbers, and index as (b,) of any b. Steps and sampler are fixed.
"""

import re
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

from gendiff.commands.text_to_image.default_sampling import Sampling
from gendiff.commands.text_to_image.prompting.prompt_drawing import Program
from gendiff.commands.text_to_image.prompting.prompt_options import PromptOptions
from gendiff.commands.text_to_image.trained import Trained
from gendiff.core import files
from gendiff.data.tokenizer import Tokens
from gendiff.runs.progress import Progress

PLATFORMS = ("cpu", "cuda", "tpu")
_EXAMPLE = """\
import jax, numpy
from jax import export
pipeline = export.deserialize(bytearray(open({path!r}, "rb").read()))
ids, negative = numpy.zeros((2, 1, {length}), numpy.int32)
ids[0, :{count}] = {ids}  # {prompt}
{away}seed, guidance, index = numpy.uint32({seed}), numpy.float32({guidance:g}), numpy.arange({num}, dtype=numpy.int32)
pictures = jax.jit(pipeline.call)(ids, ids > 0, negative, negative > 0, seed, guidance, index)  # in about [-1, 1]
numpy.save({saved!r}, pictures)"""


def exported(program: Program, given: Trained, length: int) -> jax.export.Exported:
    """The program for every platform. length: tokens of a text."""

    def pipeline(ids: Any, mask: Any, negative: Any, negative_mask: Any, seed: Any, guidance: Any, index: Any) -> jax.Array:
        none: Any = Tokens(np.zeros((0, 0), np.int32), np.zeros((0, 0), bool), np.zeros(0, bool), np.zeros(0, np.int32))
        prompt, away = (none._replace(ids=i, mask=there) for i, there in ((ids, mask), (negative, negative_mask)))
        return program(given.params, jax.random.key(seed), guidance, index, prompt, away)

    (count,) = jax.export.symbolic_shape("b")
    text, there = jax.ShapeDtypeStruct((1, length), np.int32), jax.ShapeDtypeStruct((1, length), bool)
    numbers = jax.ShapeDtypeStruct((), np.uint32), jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((count,), np.int32)
    return jax.export.export(jax.jit(pipeline), platforms=PLATFORMS)(text, there, text, there, *numbers)


def custom_calls(module: jax.export.Exported) -> set[str]:
    """Names of what the program calls outside StableHLO, which a platform may lack."""
    return set(re.findall(r"custom_call\s*@([\w.]+)", module.mlir_module()))


def write(
    program: Program,
    given: Trained,
    how: Sampling,
    options: PromptOptions,
    prompt: Tokens,
    negative: Tokens,
    path: Path,
    progress: Progress,
) -> None:
    """Write the file, and say how it is loaded. how: the program draws."""
    progress.line(f"lowering for {', '.join(PLATFORMS)} …")
    content = exported(program, given, prompt.ids.shape[1]).serialize()
    with files.replacing(path) as file:
        file.write(content)
    progress.line(f"{path}: {len(content) / 2**20:.0f} MiB, {how}, for {', '.join(PLATFORMS)}")
    needs = "This loads it, with the packages jax and flatbuffers alone (tokens come from the tokenizer.json of MiniLM's package):"
    progress.line(f"{needs}\n\n{example(options, prompt, negative, path, given.side)}\n")


def example(options: PromptOptions, prompt: Tokens, negative: Tokens, path: Path, side: int) -> str:
    """A Python program that loads the file and draws what the command would. The tokenizer's padding has the id 0."""
    used = [tokens.ids[0][tokens.mask[0]].tolist() for tokens in (prompt, negative)]
    away = f"negative[0, :{len(used[1])}] = {used[1]}  # {options.negative!r}\n" if used[1] else ""
    names = {"path": str(path), "saved": str(path.with_suffix(".npy")), "length": prompt.ids.shape[1]}
    numbers = {"seed": options.seed, "guidance": options.guidance, "num": options.num, "side": side}
    return _EXAMPLE.format(**names, **numbers, count=len(used[0]), ids=used[0], prompt=repr(options.prompt), away=away)
