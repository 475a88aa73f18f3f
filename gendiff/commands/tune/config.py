"""The numbers of `tune`. None stands for what follows from the method and the rows."""

import dataclasses
from typing import Annotated, Literal

import msgspec
import tyro

from gendiff.commands.chat.chat_options import SMOLLM2
from gendiff.runs.ranges import Count, Positive, Seed, Several

TINY = "tiny"
"""A network of bytes with random weights, which shows that everything runs, on rows that come along."""
RATES = {"sft": 2e-4, "dpo": 5e-5, "grpo": 1e-4}
BETAS = {"dpo": 0.1, "grpo": 0.02}
METHODS = {"beta": tuple(BETAS), **dict.fromkeys(("group", "max_tokens", "temperature"), ("grpo",))}
"""The methods that an option belongs to, where it does not belong to all."""
PASSES = 3
"""Over the rows, where no number of steps is given."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of a fine-tuning."""

    data: str | None = None
    """A .jsonl file of rows. sft: messages, or prompt and completion. dpo: prompt, chosen, rejected. grpo: prompt,
    answer, and if wanted reward (exact, contains or number)."""
    method: Literal["sft", "dpo", "grpo"] = "sft"
    """sft learns answers, dpo prefers chosen answers to rejected ones, grpo draws answers and learns from rewards."""
    lora: Count = 8
    """Rank of the adapter; 4 to 32 are usual."""
    model: str = SMOLLM2
    """smollm2, or a .gguf file or folder of transformers (Llama, Mistral, Qwen 2 and 3, Gemma 2 and 3); tiny only shows
    that everything runs."""
    plain: tyro.conf.FlagCreatePairsOff[bool] = False
    """Learn texts as they are, without the chat template, for models that only go on with texts."""
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    """Share of the rows that is kept from training and judges, at least two rows."""
    length: Several = 512
    """Tokens of a prompt with its answer, at most; a longer row is an error, for nothing is cut."""
    seeds: tuple[Seed] = (0,)
    """Seed of the adapter, of the order of the rows and of what grpo draws."""
    steps: Count | None = None
    """Optimizer steps; None: three passes over the rows."""
    batch: Count = 4
    """Rows per step."""
    learning_rate: Positive | None = None
    """Peak learning rate of AdamW, which falls along a cosine; None: 2e-4 (sft), 5e-5 (dpo), 1e-4 (grpo)."""
    beta: Positive | None = None
    """How strongly dpo and grpo stay near the model without adapter; None: 0.1 (dpo), 0.02 (grpo)."""
    group: Several = 4
    """Answers that grpo draws of each prompt."""
    max_tokens: Count = 64
    """Tokens of an answer that grpo draws, at most."""
    temperature: Positive = 1.0
    """Of what grpo draws."""
    judged: Several = 200
    """Held-out rows, and as many training rows, that are measured at most."""
    checkpoint_every: Count = 50
    """Steps between checkpoints."""
    log_every: Count = 1
    """Steps between lines of metrics."""


SMOKE = Config(model=TINY, lora=2, steps=4, batch=2, group=2, max_tokens=6, checkpoint_every=2, judged=4)
