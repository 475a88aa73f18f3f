import jax
import numpy as np

from gendiff.data import Images


def test_arrays_are_leaves_and_names_are_structure():
    images = Images(np.zeros((3, 2, 2, 1), np.float32), np.zeros(3, np.int32), classes=("a",), skipped=("b.png: empty",))
    leaves, structure = jax.tree.flatten(images)
    assert [leaf.shape for leaf in leaves] == [(3, 2, 2, 1), (3,)]
    back = jax.tree.unflatten(structure, leaves)
    assert back.classes == ("a",) and back.levels == 256 and back.skipped == ("b.png: empty",) and len(back) == 3
