"""A whole pipeline as one file that any process with JAX runs, and the Python program that loads it.

The file is StableHLO, lowered for cpu, cuda and tpu. That of a network of ours holds its parameters, and takes (ids,
mask, negative ids, negative mask, seed, guidance, index): texts as (1, 24) arrays, two numbers, and index as (b,) of
any b. That of a folder of diffusers takes (arrays, seed, guidance, index), arrays being the content of the file
beside it: `params/…` are the parameters, and `words/…` what was read of the prompts, so that other tokens in their
place draw another prompt of as many rows. All else is fixed.
"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.export
import numpy as np
import safetensors.numpy

from gendiff.commands.text_to_image.options import PromptOptions
from gendiff.core import files, trees
from gendiff.core.errors import ConfigError
from gendiff.core.types import Condition, Params, PyTree
from gendiff.data.texts.tokenizer import Tokens
from gendiff.runs.progress import Progress

PLATFORMS = ("cpu", "cuda", "tpu")
_NETWORK = """\
import jax, numpy
from jax import export
pipeline = export.deserialize(bytearray(open({path!r}, "rb").read()))
ids, negative = numpy.zeros((2, 1, {length}), numpy.int32)
ids[0, :{count}] = {ids}  # {prompt}
{away}seed, guidance, index = numpy.uint32({seed}), numpy.float32({guidance:g}), numpy.arange({num}, dtype=numpy.int32)
pictures = jax.jit(pipeline.call)(ids, ids > 0, negative, negative > 0, seed, guidance, index)  # in about [-1, 1]
numpy.save({saved!r}, pictures)"""
_FOLDER = """\
import jax, numpy, pathlib
from jax import export
from safetensors.numpy import load_file
pipeline = export.deserialize(bytearray(pathlib.Path({path!r}).read_bytes()))
arrays = load_file({beside!r})
seed, guidance, index = numpy.uint32({seed}), numpy.float32({guidance:g}), numpy.arange({num}, dtype=numpy.int32)
pictures = jax.jit(pipeline.call)(arrays, seed, guidance, index)  # in about [-1, 1]
numpy.save({saved!r}, pictures)"""


def lowered(pipeline: Callable[..., jax.Array], *inputs: PyTree) -> jax.export.Exported:
    """The program for every platform. inputs: the shapes of what the pipeline takes before (seed, guidance, index)."""
    (count,) = jax.export.symbolic_shape("b")
    numbers = (
        jax.ShapeDtypeStruct((), np.uint32),
        jax.ShapeDtypeStruct((), np.float32),
        jax.ShapeDtypeStruct((count,), np.int32),
    )
    return jax.export.export(jax.jit(pipeline), platforms=PLATFORMS)(*inputs, *numbers)


def network(program: Callable[..., jax.Array], params: Params, length: int) -> jax.export.Exported:
    """A `drawing.Program` with its parameters. length: tokens of a text."""

    def pipeline(*inputs: jax.Array) -> jax.Array:
        ids, mask, negative, negative_mask, seed, guidance, index = inputs
        none = Tokens(np.zeros((0, 0), np.int32), np.zeros((0, 0), bool), np.zeros(0, bool), np.zeros(0, np.int32))
        prompt, away = (none._replace(ids=i, mask=there) for i, there in ((ids, mask), (negative, negative_mask)))
        return program(params, jax.random.key(seed), guidance, index, prompt, away)

    text = jax.ShapeDtypeStruct((1, length), np.int32), jax.ShapeDtypeStruct((1, length), bool)
    return lowered(pipeline, *text, *text)


def write_network(
    module: jax.export.Exported, options: PromptOptions, texts: tuple[Tokens, Tokens], path: Path, progress: Progress
) -> None:
    """Write the file, and say how it is loaded. texts: the prompt and the negative one."""
    size = _write(module, path)
    # the tokenizer's padding has the id 0
    prompt, negative = (tokens.ids[0][tokens.mask[0]].tolist() for tokens in texts)
    away = f"negative[0, :{len(negative)}] = {negative}  # {options.negative!r}\n" if negative else ""
    fields = {
        "length": texts[0].ids.shape[1],
        "count": len(prompt),
        "ids": prompt,
        "prompt": repr(options.prompt),
        "away": away,
    }
    numbers = {"seed": options.seed, "guidance": options.guidance, "num": options.num}
    example = _NETWORK.format(path=str(path), saved=str(path.with_suffix(".npy")), **fields, **numbers)
    progress.line(f"{path}: {size}, for {', '.join(PLATFORMS)}")
    needs = (
        "This loads it, with the packages jax and flatbuffers alone (tokens come from the tokenizer.json of "
        "MiniLM's package):"
    )
    progress.line(f"{needs}\n\n{example}\n")


def file_of_arrays(options: PromptOptions, path: Path) -> Path:
    """The file beside an exported folder. ConfigError where it is in the way."""
    beside = path.with_name(f"{path.name}.safetensors")
    if beside.exists() and not options.force:
        raise ConfigError(f"{beside} exists: add --force to replace it, or choose another --export")
    return beside


def write_folder(
    draw: Callable[..., jax.Array],
    params: Params,
    words: Condition,
    options: PromptOptions,
    path: Path,
    progress: Progress,
) -> None:
    """Write both files, and say how they are loaded. draw: (params, words, key, guidance, index) -> pictures."""
    beside, trees_of = file_of_arrays(options, path), {"params": params, "words": words}
    arrays = {f"{name}/{path}": leaf for name, tree in trees_of.items() for path, leaf in trees.paths(tree).items()}
    names = tuple(arrays)

    def pipeline(arrays: dict[str, jax.Array], seed: jax.Array, guidance: jax.Array, index: jax.Array) -> jax.Array:
        both = (
            jax.tree.unflatten(
                jax.tree.structure(tree), [arrays[path] for path in names if path.startswith(f"{name}/")]
            )
            for name, tree in trees_of.items()
        )
        return draw(*both, jax.random.key(seed), guidance, index)

    with progress.phase(f"lower for {', '.join(PLATFORMS)}"):
        module = lowered(
            pipeline, {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}
        )
    with progress.phase("write"):
        with files.replaced(beside) as temporary:
            safetensors.numpy.save_file({name: np.asarray(array) for name, array in arrays.items()}, temporary)
        size = _write(module, path)
    large = sum(array.nbytes for array in arrays.values()) / 2**20
    progress.line(f"{path}: {size}, and {large:.1f} MiB in {beside}, for {', '.join(PLATFORMS)}")
    fields = {"path": str(path), "beside": str(beside), "saved": str(path.with_name(f"{path.name}.npy"))}
    example = _FOLDER.format(**fields, seed=options.seed, guidance=options.guidance, num=options.num)
    progress.line(f"This loads it, with the packages jax, flatbuffers and safetensors alone:\n\n{example}\n")


def _write(module: jax.export.Exported, path: Path) -> str:
    """Write the program; how large it is, in words."""
    content = module.serialize()
    with files.replacing(path) as file:
        file.write(content)
    return f"{len(content) / 2**20:.1f} MiB"
