"""What `plan --model DIR` prints: what a draw with a folder of diffusers takes at best. No array of it is read."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh

from gendiff import networks
from gendiff.commands.plan import plan_options
from gendiff.commands.plan.named_devices import Devices
from gendiff.commands.plan.plan_options import PlanOptions
from gendiff.commands.text_to_image import folder_options
from gendiff.commands.text_to_image.options import check_folder
from gendiff.core import foreign_files, records, trees
from gendiff.core.errors import ConfigError
from gendiff.core.packed import PackedKernel
from gendiff.core.types import DType, Params, PyTree
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Opened, split_parts
from gendiff.pipelines.stable_diffusion.model_parts import STORAGES, TOKENIZERS, TOWERS, Part
from gendiff.runs.reporting import formatting
from gendiff.scaling import Accelerator, accounting, roofline, working_memory
from gendiff.training import sharding
from gendiff.weights import packed_reading, quantised
from gendiff.weights.quantised import Kind, Packing, quantisation

SMALL = ("int8", "int4")
"""Ways to keep kernels that the plan counts too."""
ONE_DEVICE = AbstractMesh((1, 1, 1), sharding.AXES)


@dataclasses.dataclass(frozen=True)
class PlannedPart:
    """One part of a folder. flops: of one call for one picture. calls: how often a draw calls it.

    stored: bytes of its parameters in memory, by how kernels are kept, the storage of the draw first. shared: those
        that one device of --mesh holds. working: bytes that a call needs beside them, at most.
    """

    name: str
    parameters: int
    stored: Mapping[str, int]
    shared: Mapping[str, int]
    working: Mapping[str, int]
    flops: float
    calls: int

    @property
    def nbytes(self) -> int:
        """Of its parameters in the storage of the draw."""
        return next(iter(self.stored.values()))

    def seconds(self, device: Accelerator) -> float:
        """Least time of all calls: each reads the parameters once."""
        return float(roofline.program_time(self.flops, self.nbytes, device)) * self.calls


def lines(options: PlanOptions, machine: Devices, device: Accelerator) -> list[str]:
    """The plan. device: one of `machine`, at the shares of its rates that are reached.

    Raises ConfigError for options that do not fit the folder, and DataError for the folder.
    """
    dtype = "float32" if machine.dtype == "float32" else "bfloat16"
    model = _opened(options, dtype)
    try:
        height, width = model.sides(*(options.size or (None, None)))
        steps = len(model.grid(options.steps, height, width)) - 1
    except ValueError as error:
        raise ConfigError(str(error)) from error
    mesh = AbstractMesh(plan_options.sizes(options), sharding.AXES)
    draw = Draw(height, width, steps, 2 if options.guided else 1, options.tile, _backend(options))
    parts = planned(model, draw, mesh)
    scaled, memory, one = formatting.scaled, sum(part.nbytes for part in parts), machine.one
    chosen, *others = parts[0].stored
    report = [
        f"{options.model}: {model.index.kind.name} ({model.index.pipeline}) in {dtype} on {one.name}: "
        f"a picture of {height} × {width}, {formatting.amount(steps, 'step')}{', guided' if options.guided else ''}"
    ]
    for part in parts:
        calls = f", {part.calls} calls" if part.calls > 1 else ""
        report.append(
            f"  {part.name}: {part.parameters / 1e6:.1f} M parameters, {scaled(part.nbytes, 'B')}; "
            f"{scaled(part.flops, 'FLOP')} a call{calls}, at least {part.seconds(device):.3g} s, bound by "
            f"{roofline.bound(part.flops, part.nbytes, device)}; about {scaled(part.working[chosen], 'B')} of working "
            "memory"
        )
    report.append(f"a picture: at least {sum(part.seconds(device) for part in parts):.3g} s")
    each = f" on each of {mesh.size} devices (times and working memory are of one)" if mesh.size > 1 else ""
    most = {storage: _drawing(parts, storage) for storage in parts[0].stored}
    report.append(
        f"memory: {scaled(memory, 'B')} for all parameters{'' if chosen == 'full' else f' in {chosen}'}, about "
        f"{scaled(most[chosen].total, 'B')} at once{each}: {scaled(most[chosen].parameters, 'B')} of "
        f"{' and '.join(most[chosen].names)} and {scaled(most[chosen].working, 'B')} of working memory of "
        f"{most[chosen].largest}; text encoders leave before the others come"
    )
    if others:
        sizes = (f"{scaled(most[storage].total, 'B')} with --storage {storage}" for storage in others)
        report.append(f"  {', '.join(sizes)}")
    report.append(
        "  parameters are counted; working memory is an estimate of what XLA keeps at once in a call, without the "
        "workspace of libraries"
    )
    if most[chosen].total > one.memory:
        fitting = next((storage for storage in others if most[storage].total <= one.memory), None)
        several = f"no storage of {'one device' if mesh.size == 1 else 'these devices'} fits: --mesh fsdp=N shares it"
        if chosen != "full":
            several = "it does not fit: --mesh fsdp=N shares it"
        advice = several if fitting is None else f"give text-to-image --storage {fitting}"
        if most[chosen].largest == "vae" and options.tile is None:
            advice += ", and --tile 512 lowers the working memory of vae"
        report.append(f"note: {one.name} has {scaled(one.memory, 'B')}: {advice}")
    return report


@dataclasses.dataclass(frozen=True)
class Draw:
    """One picture. rows: how often guidance asks the network in a step. tile: of --tile. backend: of the device."""

    height: int
    width: int
    steps: int
    rows: int
    tile: int | None = None
    backend: str = "gpu"


class Most(NamedTuple):
    """The moment of most memory. names: of the parts that are there. largest: the one that works."""

    parameters: int
    working: int
    names: list[str]
    largest: str

    @property
    def total(self) -> int:
        """Bytes."""
        return self.parameters + self.working


def _opened(options: PlanOptions, dtype: str) -> Opened:
    check_folder(str(options.model))
    folder_options.check_weights(options.weights)
    weights = None if options.weights is None else foreign_files.expanded(options.weights)
    try:
        return stable_diffusion.open_model(
            foreign_files.expanded(str(options.model)), weights=weights, dtype=dtype, storage=options.storage
        )
    except ImportError as error:
        raise ConfigError(str(error)) from error


def _backend(options: PlanOptions) -> str:
    """Of the named device, as JAX calls it."""
    return "cpu" if options.accelerator == plan_options.CPU else "tpu" if "tpu" in options.accelerator else "gpu"


def _drawing(parts: list[PlannedPart], storage: str) -> Most:
    """The moment of most memory of one device: text encoders leave before the others come."""
    moments = []
    for group in ([part for part in parts if (part.name in TOWERS) == towers] for towers in (True, False)):
        if group:
            largest = max(group, key=lambda part: part.working[storage])
            total = sum(part.shared[storage] for part in group)
            moments.append(Most(total, largest.working[storage], [part.name for part in group], largest.name))
    return max(moments, key=lambda most: most.total)


def planned(model: Opened, draw: Draw, mesh: AbstractMesh = ONE_DEVICE) -> list[PlannedPart]:
    """Each part that a draw of one picture calls. ConfigError for a tile that does not fit."""
    plan = functools.partial(_planned, model, mesh, draw)
    lengths = {tower: tokenizer.length for tower, tokenizer in zip(_towers(model), model.tokenizers, strict=True)}
    # an empty text stands beside each prompt
    parts = [plan(name, (jax.ShapeDtypeStruct((1, lengths[name]), jnp.int32),), draw.rows, 2) for name in lengths]
    factor, part = model.autoencoder.factor, model.parts[model.network_name]
    latent = draw.height // factor, draw.width // factor
    groups = [[lengths[name] for name in group if name in lengths] for group in model.index.kind.tokens]
    tokens = sum(group[0] if group else model.index.kind.longest for group in groups)
    parts.append(plan(part.name, _inputs(part, latent, tokens), draw.steps * draw.rows, draw.rows))
    x = jax.ShapeDtypeStruct((1, *latent, model.autoencoder.latent_channels), jnp.float32)
    return [*parts, plan("vae", (x,), 1, 1, "decode")]


def _towers(model: Opened) -> list[str]:
    names = dict(zip(TOKENIZERS, TOWERS, strict=True))
    return [names[name] for name in TOKENIZERS if name in model.index.parts]


def _planned(
    model: Opened,
    mesh: AbstractMesh,
    draw: Draw,
    name: str,
    inputs: tuple[PyTree, ...],
    calls: int,
    together: int,
    method: str | None = None,
) -> PlannedPart:
    """together: how many inputs like these the draw hands to one call."""
    part = model.parts[name]
    shapes = part.shapes(jnp.float32 if name == "vae" else jnp.dtype(model.dtype))
    counted = accounting.count(part.network, *inputs, embeddings=True, method=method, params=shapes)
    storages = ("full", *SMALL) if model.storage == "full" else (model.storage,)
    trees_of_shapes = {storage: shapes if name == "vae" else _in_storage(part, shapes, storage) for storage in storages}
    stored = {storage: quantised.nbytes(tree) for storage, tree in trees_of_shapes.items()}
    shared = {storage: _shared(tree, mesh) for storage, tree in trees_of_shapes.items()}
    call: Callable[..., PyTree] = networks.pure(part.network.clone(attention_implementation="heads_first"), method)
    if name == "vae" and draw.tile is not None:
        call = networks.tiles.tiled(
            call, **folder_options.tile_sizes(draw.tile, part.network.factor, part.network.latent_multiple)
        )
    rows = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((together * leaf.shape[0], *leaf.shape[1:]), leaf.dtype), inputs
    )
    kernels = working_memory.attention_kernels(draw.backend)
    chosen = working_memory.working_bytes(call, trees_of_shapes[storages[0]], *rows, one_kernel=kernels)
    # a layer that is packed is unpacked where its turn comes
    layer = 0 if name == "vae" else max(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    working = {storage: chosen if storage == storages[0] else chosen + layer for storage in storages}
    return PlannedPart(name, networks.count(shapes), stored, shared, working, counted.forward_flops, calls)


def _in_storage(part: Part, shapes: Params, storage: str) -> Params:
    """The shapes of its parameters as they are in memory."""
    if storage == "as-file":
        return part.reader.params(part.config, part.arrays, shapes, maker=packed_reading.shapes_as_stored)
    return _packed(shapes, STORAGES[storage])


def _packed(shapes: Params, packing: Sequence[Packing]) -> Params:
    """Parameters of these shapes by their paths, packed by rules."""

    @functools.cache
    def packed(kind: Kind, table: bool, shape: tuple[int, ...], dtype: DType) -> PackedKernel:
        if isinstance(kind, quantised.Nibbles):
            kind = dataclasses.replace(kind, search=False)  # changes no shape, and takes most of the tracing
        pack = functools.partial(quantised.packed_array, kind=kind, table=table)
        result: PackedKernel = jax.eval_shape(pack, jax.ShapeDtypeStruct(shape, dtype))
        return result

    def stored(path: str, leaf: jax.ShapeDtypeStruct) -> PyTree:
        rule = quantisation.rule_of(path, leaf, packing)
        return leaf if rule is None or rule.kind is None else packed(rule.kind, rule.table, leaf.shape, leaf.dtype)

    paths = trees.paths(shapes)
    return jax.tree.unflatten(jax.tree.structure(shapes), [stored(path, leaf) for path, leaf in paths.items()])


def _shared(shapes: Params, mesh: AbstractMesh) -> int:
    """Bytes of parameters of these shapes that one device holds."""
    places = jax.tree.leaves(split_parts.shardings(shapes, mesh))
    return sum(
        math.prod(where.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf, where in zip(jax.tree.leaves(shapes), places, strict=True)
    )


def _inputs(part: Part, latent: tuple[int, int], tokens: int) -> tuple[PyTree, ...]:
    """Those of the network of latents, as shapes."""
    x, t, *others = part.reader.example(part.network, part.channels)
    conditions = []
    for condition in others:
        if isinstance(condition, networks.Text):
            text = jax.ShapeDtypeStruct((1, tokens, condition.tokens.shape[-1]), jnp.float32)
            condition = records.replace(condition, tokens=text, mask=jax.ShapeDtypeStruct((1, tokens), jnp.bool_))
        conditions.append(condition)
    return jax.ShapeDtypeStruct((1, *latent, x.shape[-1]), jnp.float32), t, *conditions
