import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from gendiff import networks, training
from gendiff.core import trees
from gendiff.core.errors import ConfigError
from gendiff.training import sharding
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.training import linear

EIGHT_DEVICES = """
import warnings
warnings.simplefilter("error")
import jax, numpy as np, pytest
from gendiff import training
from gendiff.training import sharding
from tests.training import linear

assert len(jax.local_devices()) == 8
explicit = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
losses, compiles = {}, []
def count(name, _, **__):
    if "backend_compile" in name:
        compiles.append(name)
jax.monitoring.register_event_duration_secs_listener(count)
for accumulate in (1, 2):
    for many, mesh in (("one", None), ("auto", sharding.mesh()), ("explicit", explicit)):
        step = jax.jit(training.make_step(linear.noisy, linear.adamw(), accumulate=accumulate), donate_argnums=0)
        state = sharding.replicate(linear.start(), mesh) if mesh else linear.start()
        losses[many] = []
        for number in range(4):
            batch = linear.batch(number, size=16)
            batch = sharding.shard(batch, mesh) if mesh else batch
            compiles.clear()
            state, metrics = step(state, batch)
            assert len(compiles) == (number == 0), (accumulate, many, number)
            losses[many].append(float(metrics["loss"]))
        assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
        np.testing.assert_allclose(losses[many], losses["one"], rtol=1e-5)
frozen = jax.jit(training.make_step(linear.taught, linear.adamw(), accumulate=2))
alone, _ = frozen(linear.start(), linear.batch(size=16), linear.params(), np.float32(2))
for mesh in (sharding.mesh(), explicit):
    placed = [sharding.replicate(tree, mesh) for tree in (linear.start(), linear.params())]
    after, _ = frozen(placed[0], sharding.shard(linear.batch(size=16), mesh), placed[1], np.float32(2))
    np.testing.assert_allclose(after.params["dense"]["kernel"], alone.params["dense"]["kernel"], rtol=1e-5)
for size, message in ((7, "nearest valid sizes are 8"), (20, "16 or 24")):
    with pytest.raises(ValueError, match=message):
        sharding.shard(linear.batch(size=size), mesh)
print("equal")
"""


@pytest.mark.fault("devices: batch not divisible by devices")
@pytest.mark.slow
def test_step_on_eight_devices_has_the_losses_of_one_and_is_compiled_once():
    assert "equal" in linear.finish(linear.python(EIGHT_DEVICES, flags="--xla_force_host_platform_device_count=8"))


@pytest.mark.slow
def test_eight_devices_train_draw_and_restore_what_one_does_and_hold_a_share_each(tmp_path):
    """Noise, checkpoints, memory, and 20 steps of three networks, one of which reads texts (see many_devices.py)."""
    script = (
        f"import runpy, sys; sys.argv[1:] = [{str(tmp_path)!r}]; runpy.run_module('tests.training.many_devices', "
        "run_name='__main__')"
    )
    out = linear.finish(linear.python(script, flags="--xla_force_host_platform_device_count=8"), timeout=600)
    assert out.count("equal") == 7, out


def test_mesh_has_three_axes_and_spans_the_local_devices():
    mesh = sharding.mesh()
    assert dict(mesh.shape) == {"data": len(jax.local_devices()), "fsdp": 1, "tensor": 1}
    assert set(mesh.axis_types) == {AxisType.Auto}
    assert sharding.describe(mesh)["devices"] == mesh.size == sharding.describe(mesh)["data"]


def many(data=1, fsdp=1, tensor=1):
    """A mesh of devices that need not exist."""
    return jax.sharding.AbstractMesh((data, fsdp, tensor), sharding.AXES)


def specs(tree, *arguments, **options):
    return {path: leaf.spec for path, leaf in trees.paths(sharding.shardings(tree, *arguments, **options)).items()}


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_fsdp_splits_the_largest_axis_that_it_divides_of_every_large_array():
    tree = {
        "conv": shape(3, 3, 64, 96),
        "odd": shape(5, 4097),
        "bias": shape(96),
        "square": shape(64, 64),
        "step": shape(),
    }
    assert specs(tree, many(data=2, fsdp=8)) == {
        "conv": PartitionSpec(None, None, None, "fsdp"),
        "odd": PartitionSpec(None, None),
        "bias": PartitionSpec(None),
        "square": PartitionSpec("fsdp", None),
        "step": PartitionSpec(),
    }
    assert specs(tree, many(fsdp=8), smallest=1)["bias"] == PartitionSpec("fsdp")
    assert set(specs(tree, many(data=16)).values()) == {PartitionSpec(*[None] * rank) for rank in (0, 1, 2, 4)}


def test_rules_of_a_transformer_split_parameters_averages_and_moments_alike_and_leave_fsdp_an_axis():
    network = networks.DiT(patch=1, width=32, depth=2, heads=2)

    def fresh(key):
        params = networks.init(network, key, jnp.zeros((1, 2, 2, 1)), jnp.zeros(1))
        return training.start(params, linear.adamw(), jax.random.key(0), (0.9,))

    state = jax.eval_shape(fresh, jax.random.key(0))
    split = specs(state, many(data=2, fsdp=2, tensor=2), networks.transformer.TENSOR_PARALLEL, smallest=1024)
    for prefix in ("params", "tracks/0.9", "optimizer_state/0/mu"):
        for block in ("block_0", "block_1"):
            assert (
                split[f"{prefix}/{block}/qkv/kernel"]
                == split[f"{prefix}/{block}/mlp_0/kernel"]
                == PartitionSpec("fsdp", "tensor")
            )
            assert (
                split[f"{prefix}/{block}/output/kernel"]
                == split[f"{prefix}/{block}/mlp_1/kernel"]
                == PartitionSpec("tensor", "fsdp")
            )
            assert split[f"{prefix}/{block}/qkv/bias"] == PartitionSpec("tensor")
        assert split[f"{prefix}/output/kernel"] == PartitionSpec(None, None), "no block's"
    assert split["key"] == split["step"] == PartitionSpec()


READERS = {
    "cross": networks.DiT(patch=2, width=32, depth=1, heads=2, text_channels=6),
    "joint": networks.DiT(patch=2, width=32, depth=2, heads=2, text_channels=6, text_attention="joint"),
    "unet": networks.UNet(channels=(32,), blocks=1, attention=(4,), head_size=8, groups=4, text_channels=6),
}


@table("name", READERS)
def test_rules_of_a_transformer_fit_every_layer_of_a_block_that_reads_a_text(name):
    inputs = jnp.zeros((1, 4, 4, 1)), jnp.zeros(1), networks.Text(jnp.zeros((1, 3, 6)), jnp.ones((1, 3), bool))
    params = jax.eval_shape(lambda key: networks.init(READERS[name], key, *inputs), jax.random.key(0))
    split = specs(params, many(tensor=2), networks.transformer.TENSOR_PARALLEL)
    blocks = {path.split("block_", 1)[1].split("/", 1)[1]: spec for path, spec in split.items() if "block_" in path}
    wide, narrow = PartitionSpec(None, "tensor"), PartitionSpec("tensor", None)
    expected = {"qkv": wide, "mlp_0": wide, "output": narrow, "mlp_1": narrow}
    if name == "joint":
        expected |= {f"stream_1_{layer}": spec for layer, spec in expected.items()} | {"stream_1_key_value": wide}
    else:
        expected |= {"cross_query": wide, "cross_key_value": wide, "cross_output": narrow}
    kernels = {
        path.removesuffix("/kernel"): spec
        for path, spec in blocks.items()
        if path.endswith("/kernel") and "modulation" not in path
    }
    assert kernels == expected
    for layer, spec in expected.items():
        assert blocks[f"{layer}/bias"] == PartitionSpec("tensor" if spec == wide else None)


def test_rules_of_experts_give_each_device_a_share_of_them_and_leave_fsdp_an_axis():
    network = networks.LanguageModel(30, width=16, depth=2, heads=2, mlp_width=24, experts=networks.Experts(4, 2))
    params = jax.eval_shape(lambda key: networks.init(network, key, jnp.zeros((1, 4), jnp.int32)), jax.random.key(0))
    rules = (*networks.transformer.TENSOR_PARALLEL_UNBIASED, *networks.transformer.EXPERT_PARALLEL)
    split = specs(params, many(fsdp=2, tensor=2), rules, smallest=1024)
    assert split["block_1/experts/mlp_0/kernel"] == PartitionSpec("tensor", None, "fsdp")
    assert split["block_1/experts/mlp_1/kernel"] == PartitionSpec("tensor", "fsdp", None)
    assert split["block_1/experts/router"] == PartitionSpec(None, None)


def placed(rule, mesh=None):
    return sharding.shardings({"kernel": shape(6, 4)}, mesh or many(tensor=4), (rule,))


test_meshes_batches_and_rules_that_do_not_fit_are_refused = refusals(
    (
        lambda: sharding.mesh(data=3, fsdp=2),
        "data = 3 times fsdp = 2 times tensor = 1 = 6 is not 1, the number of devices",
    ),
    (lambda: sharding.mesh(fsdp=2), "fsdp = 2 times tensor = 1 = 2 does not divide 1"),
    (lambda: sharding.mesh(tensor=0), "tensor = 0 must be at least 1"),
    (lambda: sharding.mesh(fsdp=None), "data and fsdp are None: one axis alone takes what the others leave"),
    (lambda: sharding.mesh(data=2, fsdp=None), "data = 2 times tensor = 1 = 2 does not divide 1"),
    (lambda: sharding.shard({"scale": np.float32(3)}, sharding.mesh()), "scale", ConfigError),
    (
        lambda: sharding.check_batch(20, many(data=2, fsdp=4, tensor=2)),
        "over 8 devices: the nearest valid sizes are 16 or 24",
    ),
    (lambda: placed(("kernel", ("tensor", None))), r"tensor = 4 does not divide 6, an axis of kernel \(6, 4\)"),
    (lambda: placed(("kernel", (None, "model"))), "names the axis 'model', and the mesh has data, fsdp, tensor"),
    (lambda: placed(("bias", (None, "tensor"))), "no array of the tree fits the rules"),
    (lambda: placed(("kernel", ("tensor",))), "no array of the tree fits the rules"),
)


def test_sharded_batch_keeps_its_values_and_a_replicated_state_can_be_donated_and_the_original_stays():
    state, batch = linear.start(), sharding.shard(linear.batch(), sharding.mesh())
    np.testing.assert_array_equal(batch.clean, linear.batch().clean)
    placed = sharding.replicate(state, sharding.mesh())
    linear.STEP(placed, batch)
    assert placed.params["dense"]["kernel"].is_deleted()
    linear.assert_bitwise_equal(state, linear.start())


def test_a_step_on_explicit_axes_equals_one_on_auto_axes_with_frozen_parameters_too():
    def loss(params, key, batch, teacher):
        value, metrics = linear.noisy(params, key, batch)
        return value + linear.taught(params, key, batch, teacher, 2.0)[0], metrics

    mesh, teacher = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,)), linear.params()
    step = quickly(training.make_step(loss, linear.adamw(), accumulate=2, clip=1.0))
    after, metrics = step(
        sharding.replicate(linear.start(), mesh),
        sharding.shard(linear.batch(), mesh),
        sharding.replicate(teacher, mesh),
    )
    plain, expected = step(linear.start(), linear.batch(), teacher)
    assert jax.typeof(after.params["dense"]["kernel"]).sharding.mesh.explicit_axes == ("data",)
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
    np.testing.assert_allclose(after.params["dense"]["kernel"], plain.params["dense"]["kernel"], rtol=1e-6)
