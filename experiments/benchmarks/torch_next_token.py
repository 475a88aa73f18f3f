"""The peer's side of the cases that train a language model: the network in torch, written for speed, and a step of AdamW.

Queries, keys and values are one product, as are both halves of a gated MLP, and attention is torch's own with its causal mask. Weights are
those that transformers would load.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from experiments.benchmarks.workloads import ADAMW, NETWORKS, Workload

Arrays = Mapping[str, torch.Tensor]
Places = Any
"""Those of tokens in their texts, one after the other: a slice, or a tensor of numbers (s,)."""


class Block(nn.Module):
    """Attention and a gated MLP, each normalised first and added to x. With slots (see torch_rollout) tokens before these are seen too."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        width, inner = settings["hidden_size"], settings["intermediate_size"]
        self.heads, epsilon = settings["num_attention_heads"], settings["rms_norm_eps"]
        self.norm_0, self.norm_1 = nn.RMSNorm(width, eps=epsilon), nn.RMSNorm(width, eps=epsilon)
        self.qkv, self.output = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp_0, self.mlp_1 = nn.Linear(width, 2 * inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, places: Places, slots: Any = None) -> torch.Tensor:
        query, key, value = self.qkv(self.norm_0(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, mask = turned(query, cos, sin), turned(key, cos, sin), None
        if slots is not None:
            key, value, mask = slots.updated(key, value, places)
        causal = mask is None and x.shape[1] > 1
        y = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        x = x + self.output(y.transpose(1, 2).flatten(2))
        gate, wide = self.mlp_0(self.norm_1(x)).chunk(2, -1)
        return x + self.mlp_1(functional.silu(gate) * wide)


class Model(nn.Module):
    """Ids to logits, with the table of tokens as the last layer."""

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        width = settings["hidden_size"]
        self.token = nn.Embedding(settings["vocab_size"], width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings["num_hidden_layers"]))
        self.norm = nn.RMSNorm(width, eps=settings["rms_norm_eps"])
        half = width // settings["num_attention_heads"] // 2
        frequencies = settings["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.arange(settings["max_position_embeddings"], dtype=torch.float64)[:, None] * frequencies
        self.register_buffer("cos", torch.cat([angles.cos(), angles.cos()], -1).float())
        self.register_buffer("sin", torch.cat([-angles.sin(), angles.sin()], -1).float())

    def vectors(self, ids: torch.Tensor, places: Places, slots: Sequence[Any] | None = None) -> torch.Tensor:
        """(b, s, width) behind the last norm, of ids (b, s) at their places. slots: of each block, which get these tokens as well."""
        x, cos, sin = self.token(ids), self.cos[places], self.sin[places]
        for number, block in enumerate(self.blocks):
            x = block(x, cos, sin, places, None if slots is None else slots[number])
        return self.norm(x)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return functional.linear(self.vectors(ids, slice(0, ids.shape[1])), self.token.weight)


def opened(workload: Workload, folder: Path) -> Model:
    """The model with the weights of a folder of transformers, which are there."""
    theirs, settings = load_file(str(folder / "model.safetensors")), NETWORKS[workload.network].settings
    module = Model(settings)
    own = {"token.weight": theirs["model.embed_tokens.weight"], "norm.weight": theirs["model.norm.weight"]}
    for number in range(settings["num_hidden_layers"]):
        at, to = f"model.layers.{number}.", f"blocks.{number}."
        own[f"{to}norm_0.weight"], own[f"{to}norm_1.weight"] = (
            theirs[f"{at}{name}_layernorm.weight"] for name in ("input", "post_attention")
        )
        own[f"{to}qkv.weight"] = torch.cat([theirs[f"{at}self_attn.{name}_proj.weight"] for name in "qkv"])
        own[f"{to}output.weight"] = theirs[f"{at}self_attn.o_proj.weight"]
        own[f"{to}mlp_0.weight"] = torch.cat([theirs[f"{at}mlp.{name}_proj.weight"] for name in ("gate", "up")])
        own[f"{to}mlp_1.weight"] = theirs[f"{at}mlp.down_proj.weight"]
    module.load_state_dict(own | {"cos": module.cos, "sin": module.sin})
    return module


def trainer(workload: Workload, module: Model, arrays: Arrays, mode: str) -> Callable[[], Any]:
    """A step on arrays["ids"]; the answer is the loss before it."""
    ids = arrays["ids"].long()
    given, wanted = ids[:, :-1].contiguous(), ids[:, 1:].flatten()
    return stepped(module, mode, lambda call: functional.cross_entropy(call(given).flatten(0, 1), wanted))


def stepped(module: nn.Module, mode: str, loss_of: Callable[[Any], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """A step of AdamW on loss_of(module), which is compiled in that mode; the answer is the loss before it."""
    call = torch.compile(module.train()) if mode == "compiled" else module.train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=ADAMW["rate"], betas=ADAMW["betas"], weight_decay=ADAMW["decay"], fused=True)

    def work() -> torch.Tensor:
        loss = loss_of(call)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return work


def answers(workload: Workload, module: Model, arrays: Arrays, loss: torch.Tensor) -> dict[str, np.ndarray]:
    """Logits of the first text after the step, and the loss of it."""
    with torch.inference_mode():
        logits = module(arrays["ids"][:1, :-1].long())
    return {"output": np.append(logits.float().cpu().numpy().ravel(), float(loss))}


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Queries or keys (…, size) by their positions; the first half of the sines has the other sign."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([second, first], -1) * sin
