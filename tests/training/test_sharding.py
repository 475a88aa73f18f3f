import jax
import numpy as np
import pytest

from gendiff import training
from gendiff.core.errors import ConfigError
from gendiff.training import sharding
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
jax.monitoring.register_event_duration_secs_listener(lambda name, _, **__: compiles.append(name) if "backend_compile" in name else None)
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
for size, message in ((7, "nearest valid sizes are 8"), (20, "16 or 24")):
    with pytest.raises(ValueError, match=message):
        sharding.shard(linear.batch(size=size), mesh)
print("equal")
"""


@pytest.mark.fault("devices: batch not divisible by devices")
@pytest.mark.slow
def test_step_on_eight_devices_has_the_losses_of_one_and_is_compiled_once():
    assert "equal" in linear.finish(linear.python(EIGHT_DEVICES, flags="--xla_force_host_platform_device_count=8"))


def test_mesh_spans_the_local_devices_on_one_axis():
    mesh = sharding.mesh()
    assert mesh.axis_names == ("data",) and mesh.size == len(jax.local_devices())
    assert mesh.axis_types == (jax.sharding.AxisType.Auto,)
    assert sharding.describe(mesh)["devices"] == mesh.size


def test_sharded_batch_keeps_its_values_and_a_replicated_state_can_be_donated_and_the_original_stays():
    state, batch = linear.start(), sharding.shard(linear.batch(), sharding.mesh())
    np.testing.assert_array_equal(batch.clean, linear.batch().clean)
    placed = sharding.replicate(state, sharding.mesh())
    linear.STEP(placed, batch)
    assert placed.params["dense"]["kernel"].is_deleted()
    linear.assert_bitwise_equal(state, linear.start())


def test_a_step_on_explicit_axes_equals_one_on_auto_axes():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    step = jax.jit(training.make_step(linear.noisy, linear.adamw(), accumulate=2, clip=1.0))
    after, metrics = step(sharding.replicate(linear.start(), mesh), sharding.shard(linear.batch(), mesh))
    plain, wanted = step(linear.start(), linear.batch())
    assert jax.typeof(after.params["dense"]["kernel"]).sharding.mesh.explicit_axes == ("data",)
    np.testing.assert_allclose(metrics["loss"], wanted["loss"], rtol=1e-6)
    np.testing.assert_allclose(after.params["dense"]["kernel"], plain.params["dense"]["kernel"], rtol=1e-6)


def test_array_without_a_batch_axis_is_named():
    with pytest.raises(ConfigError, match="scale"):
        sharding.shard({"scale": np.float32(3)}, sharding.mesh())
