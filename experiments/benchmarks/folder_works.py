"""What both sides do with a folder of Stable Diffusion. Imports neither JAX nor torch."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks.side_process import Side


class FolderWorks(Side):
    """A side that has opened a folder, and any number of works with its parts."""

    def prepare(self, kind: str, arrays: str, name: str, mode: str = "eager", steps: int = 1, scale: float = 1.0) -> dict[str, float]:
        """Make a work ready by doing it once (see Side._first).

        kind: "text", the encoders; "encode" and "decode", the halves of the autoencoder; "step", the U-Net once; "draw", a whole picture.
        A side has a method of each name, with an underscore in front: (arrays, options) -> the function that does it.
        mode: of diffusers; ours has one.
        """
        begin = time.perf_counter()
        self.work[name] = self._ready(kind, arrays, mode=mode, steps=steps, scale=scale)
        return self._first(name, begin)

    def draw(self, arrays: str, to: str, steps: int, scale: float) -> dict[str, float]:
        """Draw once into the .npz file `to`: seconds, compilation included, and peak memory. `run("draw")` draws again."""
        begin = time.perf_counter()
        self.work["draw"] = self._ready("draw", arrays, mode="eager", steps=steps, scale=scale)
        result = self.work["draw"]()
        self._wait(result)
        seconds = time.perf_counter() - begin
        np.savez(to, allow_pickle=False, output=self._numpy(result))
        return {"seconds": seconds, "peak_mib": self._peak()}

    def _ready(self, kind: str, arrays: str, **options: Any) -> Callable[[], Any]:
        with np.load(arrays) as stored:
            given = {key: self._array(stored[key]) for key in stored.files}
        return getattr(self, f"_{kind}")(given, **options)

    def _array(self, stored: np.ndarray) -> Any:
        """As the side's works take it."""
        return stored
