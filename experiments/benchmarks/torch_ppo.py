"""The peer's side of the case with PPO: the same update in torch, written for speed.

Queries, keys and values are one product, logits are computed for answers alone, advantages are a product with a triangle of decays.
"""

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from experiments.benchmarks.torch_next_token import Model
from experiments.benchmarks.workloads import ADAMW, PPO, Workload

Arrays = Mapping[str, torch.Tensor]


class Judge(nn.Module):
    """A model with one number per token in the place of logits: a critic, or a reward model."""

    def __init__(self, model: Model, kernel: torch.Tensor) -> None:
        super().__init__()
        self.model, self.scalar = model, nn.Linear(len(kernel), 1, device=kernel.device)
        self.scalar.load_state_dict({"weight": kernel[None], "bias": torch.zeros_like(kernel[:1])})

    def forward(self, ids: torch.Tensor, last: int) -> torch.Tensor:
        """Numbers (b, last) after the last tokens (b, s)."""
        return self.scalar(self.model.vectors(ids, slice(0, ids.shape[1]))[:, -last:])[..., 0]


class Answers(NamedTuple):
    """Answers (b, n) to prompts (b, p): whole texts (b, p + n), which tokens there are, and their log-probabilities when drawn."""

    text: torch.Tensor
    mask: torch.Tensor
    old: torch.Tensor


class Lesson(NamedTuple):
    """What a gradient step sees, (b, n) but for the texts."""

    text: torch.Tensor
    mask: torch.Tensor
    old: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


def trainer(workload: Workload, module: Model, arrays: Arrays, mode: str) -> Callable[[], Any]:
    """An update; the answer is ({"policy", "critic"} after it, loss, mean score and mean KL)."""
    pair = nn.ModuleDict({"policy": module, "critic": Judge(copy.deepcopy(module), arrays["critic"])}).train()
    reward, reference = Judge(copy.deepcopy(module), arrays["reward"]), copy.deepcopy(module)
    with torch.no_grad():
        for value in reference.parameters():
            value.mul_(PPO["reference"])
    answered, orders = _answers(arrays), arrays["orders"].long()
    judge: Callable[..., Any] = torch.compile(judged) if mode == "compiled" else judged
    loss_of: Callable[..., Any] = torch.compile(loss) if mode == "compiled" else loss
    parameters = list(pair.parameters())
    how = {"lr": PPO["rate"], "betas": ADAMW["betas"], "eps": PPO["epsilon"], "weight_decay": ADAMW["decay"]}
    optimizer, numbers = torch.optim.AdamW(parameters, fused=True, **how), itertools.count()

    def work() -> tuple[nn.ModuleDict, torch.Tensor]:
        with torch.no_grad():
            lesson, measured = judge(reference, pair["critic"], reward, answered)
        losses = []
        for rows in orders[next(numbers) % len(orders)]:
            value = loss_of(module, pair["critic"], Lesson(*(each[rows] for each in lesson)))
            value.backward()
            nn.utils.clip_grad_norm_(parameters, PPO["gradient_clip"], foreach=True)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(value.detach())
        return pair, torch.cat([torch.stack(losses).mean()[None], measured])

    return work


def judged(reference: Model, critic: Judge, reward: Judge, answered: Answers) -> tuple[Lesson, torch.Tensor]:
    """What the update learns from, and (mean score, mean KL to the reference)."""
    text, mask, old = answered
    count = mask.shape[1]
    log_ratio = (old - likely(reference, text, count)) * mask
    values = critic(text[:, :-1], count) * mask
    place = torch.arange(count, device=text.device)
    last = (place == mask.sum(1, keepdim=True) - 1).float()
    scores = (reward(text, count) * last).sum(1)
    rewards = last * scores[:, None] - PPO["beta"] * log_ratio
    surprise = (rewards + PPO["gamma"] * functional.pad(values[:, 1:], (0, 1)) - values) * mask
    later = place[:, None] - place
    decays = torch.where(later >= 0, (PPO["gamma"] * PPO["lam"]) ** later.clamp(min=0), 0.0)  # [t', t] = (γλ)^(t' - t)
    advantages = surprise @ decays * mask
    centred = (advantages - advantages.sum() / mask.sum()) * mask
    whitened = centred / (centred.square().sum() / mask.sum()).sqrt()
    lesson = Lesson(text, mask, old, values, whitened, advantages + values)
    return lesson, torch.stack([scores.mean(), log_ratio.sum(1).mean()])


def loss(policy: Model, critic: Judge, lesson: Lesson) -> torch.Tensor:
    """The clipped policy gradient and the critic's clipped loss, means over tokens."""
    count, clip, room = lesson.mask.shape[1], PPO["clip"], PPO["value_clip"]
    ratio = (likely(policy, lesson.text, count) - lesson.old).exp()
    gain = torch.minimum(ratio * lesson.advantages, ratio.clamp(1 - clip, 1 + clip) * lesson.advantages)
    value = critic(lesson.text[:, :-1], count)
    near = lesson.values + (value - lesson.values).clamp(-room, room)
    error = torch.maximum((value - lesson.returns).square(), (near - lesson.returns).square())
    return ((PPO["value_weight"] / 2 * error - gain) * lesson.mask).sum() / lesson.mask.sum()


def likely(model: Model, text: torch.Tensor, count: int) -> torch.Tensor:
    """Log-probabilities (b, count) of the last tokens of texts (b, s)."""
    before, chosen = text[:, :-1], text[:, -count:]
    logits = functional.linear(model.vectors(before, slice(0, before.shape[1]))[:, -count:], model.token.weight)
    return -functional.cross_entropy(logits.flatten(0, 1), chosen.flatten(), reduction="none").view_as(chosen)


def answers(workload: Workload, module: Model, arrays: Arrays, done: tuple[nn.ModuleDict, torch.Tensor]) -> dict[str, np.ndarray]:
    """Logits and the critic's values of the first text after the update, and what it measured."""
    (pair, measured), before = done, _answers(arrays).text[:1, :-1]
    with torch.inference_mode():
        parts = pair["policy"](before), pair["critic"](before, before.shape[1]), measured
    return {"output": np.concatenate([part.float().cpu().numpy().ravel() for part in parts])}


def _answers(arrays: Arrays) -> Answers:
    """Token 0 stands in the place of none; behind an answer no one sees it."""
    tokens = arrays["tokens"].long()
    text = torch.cat([arrays["ids"].long(), tokens.clamp(min=0)], 1)
    return Answers(text, (tokens >= 0).float(), arrays["log_probs"])
