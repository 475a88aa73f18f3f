"""Records in programs that are written to bytes and read back."""

import math
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core import records
from gendiff.networks.images.diagonal_gaussian import DiagonalGaussian
from tests.tables import table


@records.record
class Setting:
    value: Any
    name: str = records.static(default="a")
    numbers: Any = records.static(default=())


@records.record
class Answer:
    settings: Any
    rest: Any = None


def written(function, *args):
    """The function after its way through bytes."""
    return jax.export.deserialize(jax.export.export(jax.jit(function))(*args).serialize()).call


def test_an_exported_encoder_gives_the_same_gaussian_with_its_scale_and_shift():
    network = networks.Autoencoder(
        channels=(2,),
        blocks=1,
        groups=1,
        in_channels=1,
        latent_channels=2,
        attention=False,
        scale=(0.5, 2.0),
        shift=0.1,
    )
    x = np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 4, 4, 1)
    params = networks.init(network, jax.random.key(0), x)
    encode = networks.pure(network, "encode")
    again, here = written(encode, params, x)(params, x), jax.jit(encode)(params, x)
    assert type(again) is DiagonalGaussian and (again.scale, again.shift) == ((0.5, 2.0), 0.1)
    jax.tree.map(np.testing.assert_array_equal, again, here)
    np.testing.assert_array_equal(again.kl(), here.kl())


@table(
    "numbers",
    [(), 1, 1.0, True, None, math.inf, 0.1 + 0.2, "ä", ((1, 2.5), (("b",), False), None)],
)
def test_static_fields_return_as_they_were_and_records_nest(numbers):
    setting = Setting(jnp.arange(3.0), "ö", numbers)
    call = written(lambda one: Answer((one, {"two": records.replace(one, value=one.value * 2)})), setting)
    result = call(setting)
    assert isinstance(result, Answer) and result.rest is None
    one, two = result.settings[0], result.settings[1]["two"]
    assert jax.tree.structure(one) == jax.tree.structure(two) == jax.tree.structure(setting) and type(
        one.numbers
    ) is type(numbers)
    np.testing.assert_array_equal(two.value, [0.0, 2.0, 4.0])
    with pytest.raises(ValueError, match="(?s)tree|pytree"):
        call(records.replace(setting, name="o"))  # it is the program of one setting


@table("value", [jnp.sin, (1, object()), frozenset({1})])
def test_what_cannot_be_written_is_named_with_the_fix_and_still_runs_when_it_is_not_written(value, unchecked):
    setting = Setting(jnp.ones(2), "a", value)
    exported = jax.export.export(jax.jit(lambda one: one.value + 1))(setting)
    np.testing.assert_array_equal(exported.call(setting), 2.0)
    with pytest.raises(TypeError, match=r"Setting.numbers = .* cannot be written.*takes and returns arrays"):
        exported.serialize()


def test_a_function_in_a_field_for_data_is_named_too():
    exported = jax.export.export(jax.jit(lambda one: one.value(2.0)))(Setting(jnp.sin))
    with pytest.raises(TypeError, match="Held.function = .* cannot be written"):
        exported.serialize()


def test_a_record_may_be_defined_again_and_inside_of_a_function():
    def again():
        return records.record(
            type("Setting", (), {"__annotations__": {"value": Any}, "__module__": __name__, "__qualname__": "Setting"})
        )

    assert jax.tree.leaves(again()(3)) == jax.tree.leaves(again()(3)) == [3]
    assert written(lambda one: one.value, Setting(jnp.ones(1)))(Setting(jnp.ones(1))) == 1  # the first keeps the name

    @records.record
    class Inner:
        value: Any

    with pytest.raises(ValueError, match="Cannot serialize.*unregistered type"):
        jax.export.export(jax.jit(lambda one: one.value))(Inner(jnp.ones(1))).serialize()
