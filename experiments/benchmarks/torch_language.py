"""The peer's side of the cases with language models: transformers, by `generate` and by its networks' own call."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import transformers
from transformers.generation import CompileConfig

from experiments.benchmarks.workloads import SECRET, Workload

Arrays = Mapping[str, torch.Tensor]


def opened(workload: Workload, folder: str) -> Any:
    """A model of a folder, with weights in the workload's dtype."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, workload.dtype)).eval()


def prefill(workload: Workload, module: Any, arrays: Arrays, mode: str) -> Callable[[], Any]:
    """Reads all ids into a fresh cache; the answer is the logits (b, v) of the token behind them. Only "eager" has a cache that grows."""
    ids, config = arrays["ids"].long(), module.config
    static = None if mode == "eager" else transformers.StaticCache(config=config, max_cache_len=workload.tokens)
    call = torch.compile(module) if mode == "compiled" else module
    name = "cache" if "cache" in inspect.signature(module.forward).parameters else "past_key_values"  # as transformers before 5.24 calls it

    if static is not None:
        with torch.inference_mode():
            module(input_ids=ids, use_cache=True, **{name: static})  # makes its buffers, else they would be compiled twice

    def work() -> torch.Tensor:
        with torch.inference_mode():
            if static is not None:
                static.reset()
            cache = transformers.DynamicCache(config=config) if static is None else static
            return call(input_ids=ids, use_cache=True, logits_to_keep=1, **{name: cache}).logits[:, -1]

    return work


def generate(workload: Workload, module: Any, arrays: Arrays, mode: str, **more: Any) -> Callable[[], Any]:
    """Reads all ids and goes on greedily; the answer is the whole texts. "compiled" compiles steps, as `generate` does on GPUs."""
    ids = arrays["ids"].long()
    length: dict[str, Any] = {"max_new_tokens": workload.steps, "min_new_tokens": None, "eos_token_id": None, "pad_token_id": 0}
    options: dict[str, Any] = {} if mode == "eager" else {"cache_implementation": "static", "disable_compile": mode != "compiled"}
    if mode == "compiled":
        options["compile_config"] = CompileConfig(mode="default")
        options["compile_config"]._compile_all_devices = True

    def work() -> Any:
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            result = module.generate(ids, attention_mask=mask, do_sample=False, **length, **options, **more)
        if mode == "compiled" and not getattr(module, "_compiled_call", None):
            raise RuntimeError("transformers compiled nothing")
        return result

    return work


def watermark(workload: Workload, module: None, arrays: Arrays, mode: str) -> Callable[[], Any]:
    """Raises the logits of a quarter of the tokens, chosen by the last token of each text."""
    mark = transformers.WatermarkLogitsProcessor(
        vocab_size=workload.size, device="cpu", greenlist_ratio=0.25, bias=2.0, hashing_key=SECRET, seeding_scheme="lefthash"
    )
    call, ids, logits = torch.compile(mark) if mode == "compiled" else mark, arrays["ids"].long(), arrays["logits"]

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return call(ids, logits)

    return work


def answers(workload: Workload, module: Any, arrays: Arrays, mode: str) -> dict[str, np.ndarray]:
    """Of "generate" the tokens (b, n) and the logits (b, n, v) by which each was chosen."""
    result = generate(workload, module, arrays, mode, output_logits=True, return_dict_in_generate=True)()
    tokens = result.sequences[:, workload.tokens :]
    return {"output": torch.stack(result.logits, 1).float().numpy(), "tokens": tokens.numpy()}
