"""llama.cpp's process, through the plain bindings of llama-cpp-python, answering `side_process`.

It reads GGUF files alone, and computes with their weights as they are packed. Several texts at once are several sequences of one context.
"""

import ctypes
import os
from typing import Any

import numpy as np

from experiments.benchmarks import workloads
from experiments.benchmarks.side_process import Side
from experiments.benchmarks.workloads import Workload

PACKAGE = "llama-cpp-python"


class LlamaSide(Side):
    """Any number of works with one file."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = int(os.environ.get("BENCH_THREADS", "0")) or os.cpu_count() or 1
        self.model: Any = None

    def missing(self) -> str:
        """Why llama.cpp cannot be used; empty where it can."""
        try:
            import llama_cpp  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            return f"{error}: llama.cpp needs the package {PACKAGE} in the peers' environment, which pip builds with gcc and cmake"
        return ""

    def prepare(self, workload: dict[str, Any], arrays: str, weights: str, name: str) -> None:
        """Opens the file `weights`, once, and makes a context for the work `name`. The answer of a work is its tokens (b, n)."""
        import llama_cpp

        wanted = workloads.from_json(workload)
        with np.load(arrays) as stored:
            ids, stop = stored["ids"].astype(np.int32), stored["stop"].astype(np.int32) if "stop" in stored else np.empty(0, np.int32)
        if self.model is None:
            options = llama_cpp.llama_model_default_params()
            options.n_gpu_layers = 0
            self.model = llama_cpp.llama_model_load_from_file(weights.encode(), options)
            if not self.model:
                raise RuntimeError(f"llama.cpp cannot read {weights}")
        texts = Texts(self.model, wanted, self.threads)
        self.work[name] = lambda: texts.write(ids, wanted.steps, stop)
        self.answers[name] = lambda tokens: {"tokens": tokens}


class Texts:
    """A context with room for the texts of a workload."""

    def __init__(self, model: Any, workload: Workload, threads: int) -> None:
        import llama_cpp

        options = llama_cpp.llama_context_default_params()
        room = workload.tokens + workload.steps
        options.n_ctx = workload.batch * 256 * -(-room // 256)  # shared out among sequences in multiples of 256
        options.n_batch = options.n_ubatch = max(workload.batch * workload.tokens, 32)
        options.n_seq_max = workload.batch
        options.n_threads = options.n_threads_batch = threads
        self.cpp, self.context = llama_cpp, llama_cpp.llama_init_from_model(model, options)
        if not self.context:
            raise RuntimeError("llama.cpp made no context")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
        self.batch = llama_cpp.llama_batch_init(options.n_batch, 0, 1)

    def write(self, ids: np.ndarray, steps: int, stop: np.ndarray) -> np.ndarray:
        """Goes on with ids (b, p) greedily by `steps` tokens, fewer where a text that is alone has had a stop token.

        The logits of the ids give the first.
        """
        self.cpp.llama_memory_clear(self.cpp.llama_get_memory(self.context), False)
        tokens = [self._next(ids, 0)]
        for step in range(1, steps):
            if len(ids) == 1 and tokens[-1][0] in stop:
                break
            tokens.append(self._next(tokens[-1][:, None], ids.shape[1] + step - 1))
        return np.stack(tokens, 1)

    def _next(self, ids: np.ndarray, start: int) -> np.ndarray:
        """The likeliest token (b,) behind ids (b, s), which begin at position `start`."""
        batch, last = self.batch, ids.shape[1] - 1
        batch.n_tokens = ids.size
        for number, (text, place) in enumerate(np.ndindex(ids.shape)):
            batch.token[number], batch.pos[number] = int(ids[text, place]), start + place
            batch.n_seq_id[number], batch.seq_id[number][0], batch.logits[number] = 1, text, place == last
        if failed := self.cpp.llama_decode(self.context, batch):
            raise RuntimeError(f"llama.cpp ended with {failed}")
        ends = (text * ids.shape[1] + last for text in range(len(ids)))
        rows: list[np.ndarray] = [np.ctypeslib.as_array(self._logits(end), (self.vocabulary,)) for end in ends]
        return np.stack(rows).argmax(-1).astype(np.int32)

    def _logits(self, number: int) -> Any:
        return ctypes.cast(self.cpp.llama_get_logits_ith(self.context, number), ctypes.POINTER(ctypes.c_float))


if __name__ == "__main__":
    LlamaSide().serve()
