"""Marks are the same on eight devices as on one: what one machine has marked, any other can tell."""

import pytest

from tests.training import linear

EIGHT_DEVICES = """
import warnings
warnings.simplefilter("error")
import jax, numpy as np
from gendiff.provenance import text_detection
from gendiff.training import sharding
from tests.provenance import image_rig, rig

assert len(jax.local_devices()) == 8
mesh, index = sharding.mesh(), np.arange(16)


def equal(name, function, *arrays, atol=0):
    results = []
    for given in (arrays, sharding.shard(arrays, mesh)):
        results.append(jax.tree.map(np.asarray, jax.jit(function)(*given)))
    assert len(jax.tree.leaves(given)[0].devices()) == 8
    for one, many in zip(*map(jax.tree.leaves, results)):
        np.testing.assert_allclose(one, many, rtol=0, atol=atol, err_msg=name)
    return results[0]


logits, tokens = np.zeros((16, rig.V), np.float32), rig.unmarked(16, 20).astype(np.int32)
for name, build in rig.MARKS.items():
    mark = build()
    with_mark = lambda logits, tokens, length: mark(logits, rig.Written(tokens, length))  # noqa: E731
    changed = equal(name, with_mark, logits, tokens, index + 4)
    assert np.any(changed != logits)
    equal(name, lambda tokens: text_detection.scores(mark, tokens), tokens)
for name, build in image_rig.MARKS.items():
    mark = build()
    if name == "spread spectrum":
        equal(name, mark.write, image_rig.pictures(16), atol=1e-6)
    else:
        nonce = (image_rig.nonce_of(mark, index),) if mark.needs_nonce else ()
        equal(name, lambda *given: mark.write(jax.random.key(image_rig.DRAW), *given), index, *nonce)
print("equal")
"""


@pytest.mark.slow
def test_marks_of_texts_and_pictures_are_those_of_one_device():
    assert "equal" in linear.finish(
        linear.python(EIGHT_DEVICES, flags="--xla_force_host_platform_device_count=8"), timeout=300
    )
