"""The peer's side of the case with rollouts: torch, with room for keys and values made once, and noise drawn for all tokens at once.

Eager steps see the tokens so far. Compiled ones, whose shapes must not change, see all places through a mask.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from experiments.benchmarks.torch_next_token import Model, Places
from experiments.benchmarks.workloads import Workload

Arrays = Mapping[str, torch.Tensor]


class Drawn(NamedTuple):
    """Tokens (b, n), their log-probabilities (b, n), and of each step those of all tokens (b, v)."""

    tokens: torch.Tensor
    log_probs: torch.Tensor
    laws: Sequence[torch.Tensor]


class Slots:
    """Keys and values (b, heads, places, size) of one block."""

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        self.keys, self.values = torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def updated(self, key: torch.Tensor, value: torch.Tensor, places: Places) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Writes tokens at their places: the keys and values that they may see, and a mask where not each sees all, or all before it."""
        if isinstance(places, slice):
            self.keys[:, :, places], self.values[:, :, places] = key, value
            return self.keys[:, :, : places.stop], self.values[:, :, : places.stop], None
        self.keys.index_copy_(2, places, key)
        self.values.index_copy_(2, places, value)
        return self.keys, self.values, places[:, None] >= torch.arange(self.keys.shape[2], device=places.device)


def writer(workload: Workload, module: Model, arrays: Arrays, mode: str) -> Callable[[], Drawn]:
    """A rollout of arrays["ids"], with noise of its own."""
    module, ids, compiled = module.eval(), arrays["ids"].long(), mode == "compiled"
    step, slots = torch.compile(advanced) if compiled else advanced, empty(workload, module, ids)
    shape = workload.steps, len(ids), module.token.num_embeddings

    def work() -> Drawn:
        with torch.inference_mode():
            noise = torch.empty(shape, device=ids.device).exponential_().log_().neg_()
            return written(module, ids, noise, slots, step, fixed=compiled)

    return work


def empty(workload: Workload, module: Model, ids: torch.Tensor) -> list[Slots]:
    """Room for the texts, in each block."""
    width, heads = module.token.embedding_dim, module.blocks[0].heads
    shape = len(ids), heads, ids.shape[1] + workload.steps, width // heads
    return [Slots(shape, ids.device) for _ in module.blocks]


def written(module: Model, ids: torch.Tensor, noise: torch.Tensor, slots: list[Slots], step: Callable[..., Any], *, fixed: bool) -> Drawn:
    """An answer to each prompt (b, p), a token for each row of the noise (n, b, v). fixed: all steps have the shapes of one."""
    every = torch.arange(ids.shape[1] + len(noise), device=ids.device)
    newest, begin, drawn = ids, 0, []
    for own in noise:
        end = begin + newest.shape[1]
        drawn.append(step(module, newest, every[begin:end] if fixed else slice(begin, end), slots, own))
        newest, begin = drawn[-1][0][:, None], end
    tokens, log_probs, laws = zip(*drawn, strict=True)
    return Drawn(torch.stack(tokens, 1), torch.stack(log_probs, 1), laws)


def advanced(
    module: Model, newest: torch.Tensor, places: Places, slots: list[Slots], noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Reads tokens (b, s) at their places: the next one (b,), its log-probability (b,), and those of all tokens (b, v)."""
    logits = functional.linear(module.vectors(newest, places, slots)[:, -1], module.token.weight)
    law = functional.log_softmax(logits, -1)
    token = (law + noise).argmax(-1)
    return token, law.gather(1, token[:, None])[:, 0], law


def answers(workload: Workload, module: Model, arrays: Arrays, _: Drawn) -> dict[str, Any]:
    """With the noise that is given, the tokens (b, n) and the log-probabilities plus noise (b, n, v) of which each is the largest."""
    ids, noise = arrays["ids"].long(), arrays["noise"]
    with torch.inference_mode():
        drawn = written(module, ids, noise, empty(workload, module, ids), advanced, fixed=False)
        law = torch.stack(list(drawn.laws), 1).scatter(2, drawn.tokens[..., None], drawn.log_probs[..., None])
    return {"output": (law + noise.transpose(0, 1)).cpu().numpy(), "tokens": drawn.tokens.cpu().numpy()}
