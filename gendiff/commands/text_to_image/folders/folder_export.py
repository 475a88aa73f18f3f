"""A folder's pipeline as a program that any process with JAX runs, and its parameters in a file beside it.

The program is StableHLO, lowered for cpu, cuda and tpu. It takes (arrays, seed, guidance, index): the content of the file beside it, two
numbers, and index as (b,) of any b. Size, steps, sampler and a picture to begin from are fixed. The arrays `params/…` are the parameters,
and `words/…` what was read of the prompts: other tokens in their place draw another prompt of as many rows.
"""

from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np
import safetensors.numpy

from gendiff.commands.text_to_image.folders.folder_options import FolderOptions
from gendiff.commands.text_to_image.folders.folder_programs import Drawing
from gendiff.commands.text_to_image.prompting import exporting
from gendiff.core import files, trees
from gendiff.core.errors import ConfigError
from gendiff.runs.progress import Progress

_EXAMPLE = """\
import jax, numpy, pathlib
from jax import export
from safetensors.numpy import load_file
pipeline = export.deserialize(bytearray(pathlib.Path({path!r}).read_bytes()))
arrays = load_file({beside!r})
seed, guidance, index = numpy.uint32({seed}), numpy.float32({guidance:g}), numpy.arange({num}, dtype=numpy.int32)
pictures = jax.jit(pipeline.call)(arrays, seed, guidance, index)  # in about [-1, 1]
numpy.save({saved!r}, pictures)"""


def beside(path: Path) -> Path:
    """The file of the arrays."""
    return path.with_name(f"{path.name}.safetensors")


def check(options: FolderOptions, path: Path) -> None:
    """ConfigError where the file of the arrays is in the way, and for a storage that NumPy cannot read from one."""
    if options.storage == "float8":
        raise ConfigError("--export does not go with --storage float8, which NumPy has no name for: give int8")
    if beside(path).exists() and not options.force:
        raise ConfigError(f"{beside(path)} exists: add --force to replace it, or choose another --export")


def arrays_of(job: Drawing, params: tuple[Any, ...]) -> dict[str, Any]:
    """What the program takes: parameters and words, by their paths."""
    named = {"params": params, "words": job.words}
    return {f"{name}/{path}": leaf for name, tree in named.items() for path, leaf in trees.paths(tree).items()}


def exported(job: Drawing, params: tuple[Any, ...]) -> jax.export.Exported:
    """The program for every platform."""
    structures = {name: jax.tree.structure(tree) for name, tree in (("params", params), ("words", job.words))}

    def pipeline(arrays: dict[str, Any], seed: Any, guidance: Any, index: Any) -> jax.Array:
        given = {
            name: jax.tree.unflatten(structure, [arrays[path] for path in names if path.startswith(f"{name}/")])
            for name, structure in structures.items()
        }
        return job.draw(job.pipelines, given["params"], given["words"], job.change, jax.random.key(seed), guidance, index, None)

    arrays = arrays_of(job, params)
    names = tuple(arrays)
    shapes = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in arrays.items()}
    (count,) = jax.export.symbolic_shape("b")
    numbers = jax.ShapeDtypeStruct((), np.uint32), jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((count,), np.int32)
    return jax.export.export(jax.jit(pipeline), platforms=exporting.PLATFORMS)(shapes, *numbers)


def write(job: Drawing, params: tuple[Any, ...], options: FolderOptions, path: Path, progress: Progress) -> None:
    """Write both files, and say how they are loaded."""
    with progress.phase(f"lower for {', '.join(exporting.PLATFORMS)}"):
        content = exported(job, params).serialize()
    with progress.phase("write"):
        arrays = {name: np.asarray(array) for name, array in arrays_of(job, params).items()}
        with files.replaced(beside(path)) as temporary:
            safetensors.numpy.save_file(arrays, temporary)
        with files.replacing(path) as file:
            file.write(content)
    sizes = f"{len(content) / 2**20:.1f} MiB, and {sum(array.nbytes for array in arrays.values()) / 2**20:.1f} MiB in {beside(path)}"
    progress.line(f"{path}: {sizes}, {job.steps} steps, for {', '.join(exporting.PLATFORMS)}")
    progress.line(f"This loads it, with the packages jax, flatbuffers and safetensors alone:\n\n{example(options, path)}\n")


def example(options: FolderOptions, path: Path) -> str:
    """A Python program that loads the files and draws what the command would."""
    names = {"path": str(path), "beside": str(beside(path)), "saved": str(path.with_name(f"{path.name}.npy"))}
    return _EXAMPLE.format(**names, seed=options.seed, guidance=options.guidance, num=options.num)
