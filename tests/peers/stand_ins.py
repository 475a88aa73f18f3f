"""A module of a peer made to compute in double precision, with our noise in place of its own."""

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch

torch.set_num_threads(1)


@contextlib.contextmanager
def standing_in(
    module: types.ModuleType, draw: Callable[[], np.ndarray] | None = None, double: bool = True
) -> Iterator[None]:
    """What the module draws is `draw()`, and with `double` what it makes float32, it makes float64."""

    def noise_like(like: Any, dtype: Any = None, **_: Any) -> torch.Tensor:
        return torch.as_tensor(draw(), dtype=dtype or getattr(like, "dtype", None))

    wider = {"float32": torch.float64} if double else {}
    names = {
        "torch": types.SimpleNamespace(**vars(torch) | {"randn_like": noise_like} | wider),
        "np": types.SimpleNamespace(**vars(np) | {name: np.float64 for name in wider}),
        "randn_tensor": noise_like,
    }
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        stack.enter_context(mock.patch.dict(vars(module), names))
        if double:
            torch.set_default_dtype(torch.float64)
        yield
