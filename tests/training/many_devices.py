"""What eight devices compute is what one computes: run as a script, in a process that has eight."""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from gendiff import diffusion, networks, training
from gendiff.core import trees
from gendiff.core.types import NO_LABEL
from gendiff.training import sharding
from gendiff.training.checkpoints import Checkpoints
from tests.diffusion import test_promises as promises

SHAPE, BATCH, STEPS = (4, 4, 1), 8, 20
SCHEDULE, VELOCITY = diffusion.schedules.cosine(100), diffusion.parameterization.velocity()
RULES = networks.transformer.TENSOR_PARALLEL
NETWORKS = {
    "dit": networks.DiT(patch=2, width=32, depth=1, heads=2, num_classes=3),
    "unet": networks.UNet(channels=(24,), blocks=1, attention=(), head_size=8, groups=4, num_classes=3),
}
OPTIMIZER = optax.sgd(0.05, momentum=0.9)  # Adam would divide a gradient of rounding's size by itself


def example(step=0):
    draw = np.random.default_rng(step)
    labels = draw.integers(0, 3, BATCH).astype(np.int32)
    return diffusion.Batch(clean=draw.normal(size=(BATCH, *SHAPE)).astype(np.float32), condition=(labels,))


def parts(network):
    """(loss, init) of a network."""
    loss = diffusion.objectives.denoising(networks.pure(network), SCHEDULE, VELOCITY)
    return loss, lambda key: networks.init(network, key, jnp.zeros((1, *SHAPE)), jnp.zeros(1), jnp.zeros(1, jnp.int32))


def train(name, mesh, rules=()):
    loss, init = parts(NETWORKS[name])
    return training.fit(
        training.compile_loss(loss, OPTIMIZER, init, mesh, rules=rules, ema=(0.9,)), example, steps=STEPS
    )


def samples_of(name, params, mesh):
    """The compiled draw of the batch's samples by parameters that lie on a mesh, and the samples."""
    predict, levels = networks.pure(NETWORKS[name]), diffusion.grids.trailing(SCHEDULE, 5)

    @jax.jit
    def draw(params, index, label):
        denoise = diffusion.from_network(predict, params, VELOCITY, label)
        return diffusion.sample(jax.random.key(3), denoise, diffusion.samplers.ddim(1.0), levels, SHAPE, index)

    inputs = params, *sharding.shard((np.arange(BATCH), np.arange(BATCH) % 3), mesh)
    return draw.lower(*inputs).compile(), draw(*inputs)


def assert_close(first, second, what):
    first, second = trees.paths(first), trees.paths(second)
    for path, leaf in first.items():
        np.testing.assert_allclose(leaf, second[path], rtol=0, atol=1e-6, err_msg=f"{what}: {path}")


def check_training_and_samples():
    devices = jax.devices()
    one = sharding.mesh(devices=devices[:1])
    meshes = {
        "dit": [(sharding.mesh(data=2, fsdp=2, tensor=2), RULES), (sharding.mesh(fsdp=2, devices=devices[:2]), ())],
        "unet": [(sharding.mesh(data=2, fsdp=4), ()), (sharding.mesh(devices=devices[:2]), ())],
    }
    for name, others in meshes.items():
        alone = train(name, one).state
        _, samples = samples_of(name, alone.ema, one)
        for mesh, rules in others:
            state = train(name, mesh, rules).state
            assert_close(state.params, alone.params, f"{name} {mesh}")
            assert_close(state.ema, alone.ema, f"{name} {mesh}")
            compiled, others_samples = samples_of(name, state.ema, mesh)
            np.testing.assert_allclose(others_samples, samples, rtol=0, atol=1e-5, err_msg=f"samples of {name} {mesh}")
            share = BATCH // (mesh.shape["data"] * mesh.shape["fsdp"])
            assert compiled.output_shardings.shard_shape(samples.shape)[0] == share
            inside = re.findall(r"f32\[(\d+),4,4,1\]", compiled.as_text())
            assert set(map(int, inside)) == {share}, (
                f"{name} {mesh}: samples of other sizes than {share}: {set(inside)}"
            )
            print(name, dict(mesh.shape), "equal", flush=True)


def check_texts():
    """A network that reads texts in a second stream is trained, and guided, on eight devices as on one; on explicit
    axes too.
    """
    network = networks.DiT(
        2, 32, 2, 2, num_classes=3, text_channels=8, pooled_channels=4, text_attention="joint", image_size=True
    )
    predict, levels, null = (
        networks.pure(network),
        diffusion.grids.trailing(SCHEDULE, 5),
        (NO_LABEL, networks.NO_TEXT, None),
    )
    loss = diffusion.objectives.denoising(predict, SCHEDULE, VELOCITY, drop_condition=0.3, null=null)

    def conditions(step=0):
        draw, labels = np.random.default_rng(step), example(step)
        tokens, pooled = (draw.normal(size=(BATCH, *shape)).astype(np.float32) for shape in ((4, 8), (4,)))
        size = networks.ImageSize(*draw.integers(4, 64, (3, BATCH, 2)).astype(np.float32))
        return diffusion.Batch(
            labels.clean, (*labels.condition, networks.Text(tokens, draw.random((BATCH, 4)) < 0.6, pooled), size)
        )

    def init(key):
        return networks.init(network, key, jnp.zeros((BATCH, *SHAPE)), jnp.zeros(BATCH), *conditions().condition)

    @jax.jit
    def draw(params, index, label, text, size):
        denoiser = diffusion.from_network(predict, params, VELOCITY, label, text, size)
        guided = diffusion.guidance.classifier_free(
            denoiser, denoiser.with_condition(*null[:2], size), 3.0, batched=True
        )
        return diffusion.sample(jax.random.key(3), guided, diffusion.samplers.ddim(1.0), levels, SHAPE, index)

    meshes = sharding.mesh(devices=jax.devices()[:1]), sharding.mesh(data=2, fsdp=2, tensor=2)
    alone, spread = (
        training.fit(
            training.compile_loss(loss, OPTIMIZER, init, mesh, rules=rules), conditions, steps=STEPS
        ).state.params
        for mesh, rules in zip(meshes, ((), RULES), strict=True)
    )
    assert_close(spread, alone, "texts")
    inputs = np.arange(BATCH), *conditions().condition
    samples = draw(alone, *inputs)
    explicit = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    split = jax.device_put(inputs, NamedSharding(explicit, PartitionSpec("data")))
    for others in (draw(spread, *sharding.shard(inputs, meshes[1])), draw(sharding.replicate(alone, explicit), *split)):
        np.testing.assert_allclose(others, samples, rtol=0, atol=1e-5)
    print("texts equal", flush=True)


def check_noise():
    expected = promises.draw(promises.RECORDER, range(8), trajectory=True)
    for sizes in ({"data": 8}, {"data": 2, "fsdp": 4}, {"data": 2, "fsdp": 2, "tensor": 2}):
        index = sharding.shard(np.arange(8), sharding.mesh(**sizes))
        np.testing.assert_array_equal(
            jax.jit(lambda i: promises.draw(promises.RECORDER, i, trajectory=True))(index), expected
        )
    print("noise equal", flush=True)


def check_memory():
    """Of a transformer split over eight devices, each holds an eighth of the state, and gathers a layer where it
    computes it.
    """
    network = networks.DiT(patch=2, width=64, depth=2, heads=2, num_classes=3, remat=True)
    mesh, (loss, init) = sharding.mesh(fsdp=8), parts(network)
    # XLA:CPU joins the sums of all gradients to one; other backends go layer by layer
    options = {
        "xla_disable_hlo_passes": "cpu-all-reduce-combiner,all-reduce-combiner",
        "xla_backend_optimization_level": 0,
    }
    run = training.compile_loss(loss, OPTIMIZER, init, mesh, ema=(0.9,), compiler_options=options)
    shapes = jax.eval_shape(run.fresh, jax.random.key(0))
    large = [leaf for leaf in jax.tree.leaves(shapes) if leaf.size >= sharding.SMALLEST]
    assert sum(leaf.size for leaf in large) > 0.9 * sum(leaf.size for leaf in jax.tree.leaves(shapes))
    compiled = run.step.lower(jax.tree.map(_shaped, shapes, run.shardings), sharding.shard(example(), mesh)).compile()
    held, total = (
        compiled.memory_analysis().argument_size_in_bytes,
        4 * sum(leaf.size for leaf in jax.tree.leaves(shapes)),
    )
    assert total / 8 <= held < total / 6, "small arrays are whole, and there is the batch"
    for leaf, where in zip(jax.tree.leaves(shapes), jax.tree.leaves(compiled.output_shardings[0]), strict=True):
        assert leaf.size < sharding.SMALLEST or np.prod(where.shard_shape(leaf.shape)) == leaf.size // 8, leaf
    block = shapes.params["block_0"]
    kernels = [leaf.size for leaf in jax.tree.leaves(block) if leaf.size >= sharding.SMALLEST]
    peak, gathers = gathered(compiled.as_text(), kernels)
    print(
        f"{peak} numbers are gathered at once, of {sum(kernels)} of a block, in {gathers} gathers; kernels {kernels}",
        flush=True,
    )
    assert gathers >= 2 * network.depth, "forward and backward; where activations are smaller, XLA moves them instead"
    assert peak <= sum(kernels)


def gathered(program, sizes):
    """(the most numbers that live at one time in arrays of these sizes that were gathered, how many such arrays) of a
    scheduled program.
    """
    lines = program[program.index("\nENTRY ") :].splitlines()
    spans = []
    for first, line in enumerate(lines):
        match = re.match(r"\s+%(\S+) = f32\[([\d,]+)\]\S* all-gather\(", line)
        size = int(np.prod([int(part) for part in match[2].split(",")])) if match else 0
        if match and size in sizes:
            name = re.compile(rf"%{re.escape(match[1])}[,)]")
            last = max((later for later in range(first + 1, len(lines)) if name.search(lines[later])), default=first)
            spans.append((first, last, size))
    return max(sum(size for first, last, size in spans if first <= time <= last) for time in range(len(lines))), len(
        spans
    )


def check_checkpoints(folder):
    """A state that eight devices saved is restored on two, and from there on one, without a bit changed."""
    loss, init = parts(NETWORKS["dit"])
    meshes = (
        sharding.mesh(data=2, fsdp=2, tensor=2),
        *(sharding.mesh(fsdp=n, devices=jax.devices()[:n]) for n in (2, 1)),
    )
    fresh = training.compile_loss(loss, OPTIMIZER, init, meshes[0], rules=RULES, ema=(0.9,)).fresh
    state, shapes = fresh(jax.random.key(0)), jax.eval_shape(fresh, jax.random.key(0))
    expected = {path: np.asarray(leaf).tobytes() for path, leaf in trees.paths(state.params).items()}
    for number, mesh in enumerate(meshes[1:]):
        where = sharding.shardings(shapes, mesh)
        with Checkpoints(folder) as store:
            store.save(number, state)
            store.wait()
            state = store.restore(number, jax.tree.map(_shaped, shapes, where)).state
        assert {path: np.asarray(leaf).tobytes() for path, leaf in trees.paths(state.params).items()} == expected
        assert jax.tree.map(lambda leaf: leaf.sharding, state) == where
    print("checkpoints equal", flush=True)


def _shaped(leaf, where):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


if __name__ == "__main__":
    assert len(jax.devices()) == 8
    check_noise()
    check_checkpoints(Path(sys.argv[1]))
    check_memory()
    check_texts()
    check_training_and_samples()
