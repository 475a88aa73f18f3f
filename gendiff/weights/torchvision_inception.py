"""`inception_v3` of torchvision, and pytorch-fid's variant, as `networks.Inception`: the rules for its parameters.

Both keep their parameters under the same names. pytorch-fid's are the weights of 2015 that FID is defined on: with them
`networks.Inception` has variant "fid", with torchvision's own it has variant "torchvision".
"""

from gendiff.core.types import Params
from gendiff.weights import layouts
from gendiff.weights import rules as naming
from gendiff.weights.rules import Arrays, Rule

STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
FINE = ("branch1x1", "branch5x5_1", "branch5x5_2", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", "branch_pool")
TWICE_SEVEN = tuple(f"branch7x7dbl_{number}" for number in (1, 2, 3, 4, 5))
MEDIUM = ("branch1x1", "branch7x7_1", "branch7x7_2", "branch7x7_3", *TWICE_SEVEN, "branch_pool")
ONCE_THREE = ("branch3x3_1", "branch3x3_2a", "branch3x3_2b")
TWICE_THREE = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b")
BLOCKS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), FINE),
    "Mixed_6a": ("branch3x3", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), MEDIUM),
    "Mixed_7a": ("branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{number}" for number in (1, 2, 3, 4))),
    **dict.fromkeys(("Mixed_7b", "Mixed_7c"), ("branch1x1", *ONCE_THREE, *TWICE_THREE, "branch_pool")),
}
BEHIND_THE_FEATURES = ("fc.", "AuxLogits.")
"""What follows the pooled features, or begins at an inner map: classifiers, which no feature needs."""
COUNTER = ".bn.num_batches_tracked"
"""A count of training steps, which inference does not read."""


def rules() -> tuple[Rule, ...]:
    """Return the rules for every parameter of `networks.Inception`, of either variant."""
    units = [(name, name.lower()) for name in STEM]
    units += [
        (f"{block}.{branch}", f"{block.lower()}/{branch}") for block, branches in BLOCKS.items() for branch in branches
    ]
    return tuple(rule for theirs, ours in units for rule in _unit(theirs, ours))


def params(arrays: Arrays, like: Params) -> Params:
    """Return the arrays of a model as the parameters of `networks.Inception()`.

    Args:
        arrays: of the whole model by name, such as `files.load` reads. Its classifiers and the counters of its batch
            norms are left out by their names; every other array is used.
        like: parameters of that network, or their shapes.

    Raises:
        CheckpointMismatchError: as `rules.to_ours` does.
    """
    used = {
        name: array
        for name, array in arrays.items()
        if not name.startswith(BEHIND_THE_FEATURES) and not (name.endswith(COUNTER) and array.shape == ())
    }
    return naming.to_ours(used, rules(), like)


def _unit(theirs: str, ours: str) -> tuple[Rule, ...]:
    """A convolution without bias and its batch norm."""
    norm = {"scale": "weight", "bias": "bias", "mean": "running_mean", "variance": "running_var"}
    return (
        Rule(f"{ours}/kernel", (f"{theirs}.conv.weight",), layouts.CONVOLUTION),
        *(Rule(f"{ours}/{here}", (f"{theirs}.bn.{there}",)) for here, there in norm.items()),
    )
