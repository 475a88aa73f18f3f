"""The calls of a network: every layer that has parameters, on the shapes that it sees."""

import jax

from gendiff import networks
from gendiff.core import trees
from gendiff.networks import calls
from gendiff.networks.layers import Dense
from tests.networks import rig
from tests.networks.rig import LABEL, T, X
from tests.refusals import refusals
from tests.tables import table


def recorded(network, *inputs, **options):
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL))
    return shapes, calls.recorded(network, shapes, *(inputs or (X, T, LABEL)), **options)


@table("build, remat", [(rig.dit, False), (rig.dit, True), (rig.unet, False), (rig.unet, "products")])
def test_every_layer_is_called_once_whatever_the_backward_pass_computes_again(build, remat):
    shapes, layers = recorded(build(remat=remat))
    called = [call.path for call in layers if call.method == "__call__"]
    assert len(called) == len(set(called)) and called[-1] == ""
    assert {path.rpartition("/")[0] for path in trees.paths(shapes)} <= set(called)
    for call in layers:
        if issubclass(call.layer, Dense):
            kernel = trees.paths(shapes)[f"{call.path}/kernel"]
            assert (
                (call.arguments["x"][-1], call.output[-1]) == kernel.shape == (kernel.shape[0], call.fields["features"])
            )


def test_the_same_network_is_recorded_again_and_shapes_do_as_well_as_arrays():
    _, first = recorded(rig.dit())
    _, again = recorded(rig.dit())
    _, shapes = recorded(rig.dit(), *(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (X, T, LABEL)))
    assert first == again == shapes
    attention = next(call for call in first if call.path == "block_0" and call.method == "__call__")
    shapes_given = {"x": (3, 8, 16), "condition": (3, 16), "positions": None}
    assert attention.arguments == shapes_given and attention.output == ((3, 8, 16), None)


def test_numbers_and_texts_stay_what_they_are_and_a_method_is_recorded_alone():
    network = networks.LanguageModel(20, 8, 8, 1, 2)
    tokens = LABEL[:, None] + 1
    shapes = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), tokens))
    all_logits, last = (calls.recorded(network, shapes, tokens, None, all_tokens)[-1] for all_tokens in (True, False))
    assert (all_logits.output[0], last.output[0]) == ((3, 1, 20), (3, 20)) and last.arguments["every"] is False
    autoencoder = networks.Autoencoder((4, 8), 1, 2, 1, groups=2)
    shapes = jax.eval_shape(lambda: networks.init(autoencoder, jax.random.key(0), X))
    encoded = calls.recorded(autoencoder, shapes, X, method="encode")
    assert {call.path.partition("/")[0] for call in encoded} == {"", "encoder"}


test_mistakes_are_refused = refusals(
    (lambda: calls.recorded(lambda x: x, {}, X), "linen Module", TypeError),
    (lambda: calls.recorded(rig.dit(), {}, X, method="draw"), "no method of that name"),
)
