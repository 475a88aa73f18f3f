"""What `plan --model DIR` prints: what a draw with a folder of diffusers takes at best. No array of it is read."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh

from gendiff import networks
from gendiff.commands.plan import plan_options
from gendiff.commands.plan.named_devices import Devices
from gendiff.commands.plan.plan_options import PlanOptions
from gendiff.commands.text_to_image.options import check_folder
from gendiff.core import foreign_files, records, trees
from gendiff.core.errors import ConfigError
from gendiff.core.types import Params, PyTree
from gendiff.pipelines import stable_diffusion
from gendiff.pipelines.stable_diffusion import Opened, split_parts
from gendiff.pipelines.stable_diffusion.model_parts import STORAGES, TOKENIZERS, TOWERS, Part
from gendiff.runs.reporting import formatting
from gendiff.scaling import Accelerator, accounting, roofline
from gendiff.training import sharding
from gendiff.weights import quantised
from gendiff.weights.quantised import Packing, quantisation

SMALL = ("int8", "int4")
"""Ways to keep kernels that the plan counts too."""
ONE_DEVICE = AbstractMesh((1, 1, 1), sharding.AXES)


@dataclasses.dataclass(frozen=True)
class PlannedPart:
    """One part of a folder. flops: of one call for one picture. calls: how often a draw calls it.

    stored: bytes of its parameters in memory, by how kernels are kept. shared: those that one device of --mesh holds.
    """

    name: str
    parameters: int
    stored: Mapping[str, int]
    shared: Mapping[str, int]
    flops: float
    calls: int

    @property
    def nbytes(self) -> int:
        """Of its parameters as arrays."""
        return self.stored["full"]

    def seconds(self, device: Accelerator) -> float:
        """Least time of all calls: each reads the parameters once."""
        return float(roofline.program_time(self.flops, self.nbytes, device)) * self.calls


def lines(options: PlanOptions, machine: Devices, device: Accelerator) -> list[str]:
    """The plan. device: one of `machine`, at the shares of its rates that are reached.

    Raises ConfigError for options that do not fit the folder, and DataError for the folder.
    """
    dtype = "float32" if machine.dtype == "float32" else "bfloat16"
    check_folder(str(options.model))
    model = stable_diffusion.open_model(foreign_files.expanded(str(options.model)), dtype=dtype)
    try:
        height, width = model.sides(*(options.size or (None, None)))
        steps = len(model.grid(options.steps, height, width)) - 1
    except ValueError as error:
        raise ConfigError(str(error)) from error
    mesh = AbstractMesh(plan_options.sizes(options), sharding.AXES)
    parts = planned(model, height, width, steps, 2 if options.guided else 1, mesh)
    scaled, memory, one = formatting.scaled, sum(part.nbytes for part in parts), machine.one
    report = [
        f"{options.model}: {model.index.kind.name} ({model.index.pipeline}) in {dtype} on {one.name}: "
        f"a picture of {height} × {width}, {formatting.amount(steps, 'step')}{', guided' if options.guided else ''}"
    ]
    for part in parts:
        calls = f", {part.calls} calls" if part.calls > 1 else ""
        report.append(
            f"  {part.name}: {part.parameters / 1e6:.1f} M parameters, {scaled(part.nbytes, 'B')}; "
            f"{scaled(part.flops, 'FLOP')} a call{calls}, at least {part.seconds(device):.3g} s, bound by "
            f"{roofline.bound(part.flops, part.nbytes, device)}"
        )
    report.append(f"a picture: at least {sum(part.seconds(device) for part in parts):.3g} s")
    each = f" on each of {mesh.size} devices (times are of one)" if mesh.size > 1 else ""
    report.append(
        f"memory: {scaled(memory, 'B')} for all parameters, at most {scaled(_drawing(parts), 'B')} at once{each}, for "
        "text encoders leave before the others come; activations come on top"
    )
    small = {storage: _drawing(parts, storage) for storage in SMALL}
    sizes = (f"{scaled(nbytes, 'B')} with --storage {storage}" for storage, nbytes in small.items())
    report.append(f"  {', '.join(sizes)}")
    if _drawing(parts) > one.memory:
        fitting = next((storage for storage in SMALL if small[storage] <= one.memory), None)
        several = f"no storage of {'one device' if mesh.size == 1 else 'these devices'} fits: --mesh fsdp=N shares it"
        advice = several if fitting is None else f"give text-to-image --storage {fitting}"
        report.append(f"note: {one.name} has {scaled(one.memory, 'B')}: {advice}")
    return report


def _drawing(parts: list[PlannedPart], storage: str = "full") -> int:
    """Most bytes of parameters that one device has at once: text encoders leave before the others come."""
    texts = [part for part in parts if part.name in TOWERS]
    others = [part for part in parts if part.name not in TOWERS]
    return max(sum(part.shared[storage] for part in group) for group in (texts, others))


def planned(
    model: Opened, height: int, width: int, steps: int, rows: int, mesh: AbstractMesh = ONE_DEVICE
) -> list[PlannedPart]:
    """Each part that a draw of one picture calls. rows: how often guidance asks the network in a step."""
    plan = functools.partial(_planned, model, mesh)
    lengths = {tower: tokenizer.length for tower, tokenizer in zip(_towers(model), model.tokenizers, strict=True)}
    parts = [plan(name, (jax.ShapeDtypeStruct((1, lengths[name]), jnp.int32),), rows) for name in lengths]
    factor, part = model.autoencoder.factor, model.parts[model.network_name]
    latent = height // factor, width // factor
    groups = [[lengths[name] for name in group if name in lengths] for group in model.index.kind.tokens]
    tokens = sum(group[0] if group else model.index.kind.longest for group in groups)
    parts.append(plan(part.name, _inputs(part, latent, tokens), steps * rows))
    x = jax.ShapeDtypeStruct((1, *latent, model.autoencoder.latent_channels), jnp.float32)
    return [*parts, plan("vae", (x,), 1, "decode")]


def _towers(model: Opened) -> list[str]:
    names = dict(zip(TOKENIZERS, TOWERS, strict=True))
    return [names[name] for name in TOKENIZERS if name in model.index.parts]


def _planned(
    model: Opened,
    mesh: AbstractMesh,
    name: str,
    inputs: tuple[PyTree, ...],
    calls: int,
    method: str | None = None,
) -> PlannedPart:
    part = model.parts[name]
    shapes = part.shapes(jnp.float32 if name == "vae" else jnp.dtype(model.dtype))
    packings = {storage: STORAGES[storage] if name != "vae" else () for storage in ("full", *SMALL)}
    counted = accounting.count(part.network, *inputs, embeddings=True, method=method, params=shapes)
    trees_of_shapes = {storage: _packed(shapes, packing) for storage, packing in packings.items()}
    stored = {storage: quantised.nbytes(tree) for storage, tree in trees_of_shapes.items()}
    shared = {storage: _shared(tree, mesh) for storage, tree in trees_of_shapes.items()}
    return PlannedPart(name, networks.count(shapes), stored, shared, counted.forward_flops, calls)


def _packed(shapes: Params, packing: Sequence[Packing]) -> Params:
    """Parameters of these shapes by their paths, packed by rules."""
    result = {}
    for path, leaf in trees.paths(shapes).items():
        rule = quantisation.rule_of(path, leaf, packing)
        if rule is None or rule.kind is None:
            result[path] = leaf
        else:
            pack = functools.partial(quantised.packed_array, kind=rule.kind, table=rule.table)
            result[path] = jax.eval_shape(pack, leaf)
    return result


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
