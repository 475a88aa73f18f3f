"""What published constants say: the best model of Chinchilla's budget, the losses of trained models, and what serving them costs."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.scaling.scaling_fit.config import Config
from gendiff.commands.scaling_fit import loss_plots
from gendiff.runs.reporting import figures, verdicts
from gendiff.runs.reporting.plots import Curve
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim
from gendiff.scaling import cost, laws, published

LAWS: dict[str, Any] = {
    "approach 1": published.HOFFMANN_1,
    "approach 2": published.HOFFMANN_2,
    "approach 3 as published": published.HOFFMANN,
    "approach 3 fitted again": published.EPOCH,
    "Kaplan, joint law": published.KAPLAN,
    "Kaplan, frontier": published.KAPLAN_FRONTIER,
}
BUDGETS = np.logspace(18, 26, 33)
SERVED = (0.0, 1.4e12, 1.4e13, 1.4e14)
"""Tokens over the life of a model as good as Chinchilla: none, as many as its training, ten and a hundred times as many."""


def claims(config: Config) -> Iterator[Claim]:
    """Nothing here is measured: each number follows from published ones, so it has no interval."""
    claim = functools.partial(verdicts.against, config.thresholds, None, n=1)
    how: Any
    for id, name, how in (
        ("better-hoffmann", "approach 3 as published", (">=", "claim")),
        ("better-epoch", "approach 3 fitted again", (">=", "claim")),
        ("better-kaplan", "Kaplan, joint law", ("<=", "control")),
    ):
        gap = _loss(LAWS[name], published.GPT_3) - _loss(LAWS[name], published.CHINCHILLA)
        yield claim(id, f"{name}: predicted loss of GPT-3 less that of Chinchilla", gap, how[0], "better", kind=how[1])
    for id, name, how in (
        ("near-epoch", "approach 3 fitted again", ("<=", "claim")),
        ("near-hoffmann", "approach 3 as published", (">=", "control")),
        ("near-kaplan", "Kaplan, frontier", (">=", "control")),
    ):
        best = float(LAWS[name].optimum(published.CHINCHILLA_FLOPS).parameters)
        factor = math.exp(abs(math.log(best / published.CHINCHILLA.parameters)))
        yield claim(id, f"{name}: factor between the best size at 5.76e23 operations and 70 billion", factor, how[0], "near", kind=how[1])
    per_token = [cost.forward_flops(model.parameters) for model in (published.GPT_3, published.CHINCHILLA)]
    yield claim("cheaper", "operations per served token: GPT-3 over Chinchilla", float(per_token[0] / per_token[1]), ">=")
    none, _, ten, _ = np.asarray(_served().parameters)
    statement = "size with least cost for Chinchilla's loss: ten times its training tokens served, over none served"
    yield claim("shrunk", statement, float(ten / none), "<=")


def tables() -> tuple[Table, ...]:
    """The best models of a budget, the models that were trained, and the sizes that serving asks for."""
    return _optima_table(), _models_table(), _serving_table()


def plots(path: Any) -> tuple[Figure, ...]:
    """path: from the name of a figure to its file."""
    return (
        loss_plots.surface(
            published.EPOCH,
            path("surface"),
            "Loss as approach 3, fitted again, predicts it, models that were trained, and where each law has its optima.",
            optima={name: law for name, law in LAWS.items() if name != "Kaplan, joint law"},
            places={model.name: (model.parameters, model.tokens) for model in published.MODELS},
        ),
        _optima_plot(path("optima")),
        _overtraining_plot(path("overtraining")),
    )


def _loss(law: Any, model: published.Trained) -> float:
    return float(law.loss(model.parameters, model.tokens))


def _served() -> laws.Optimum:
    model = published.CHINCHILLA
    return laws.inference_aware(published.EPOCH, model.parameters, model.tokens, np.array(SERVED))


def _optima_table() -> Table:
    rows = list[tuple[Any, ...]]()
    for name, law in LAWS.items():
        best = law.optimum(published.CHINCHILLA_FLOPS)
        loss = float(best.loss)
        rows.append((name, float(law.exponent), *_billions(best), float(best.tokens_per_parameter), loss if math.isfinite(loss) else None))
    columns = ("law", "exponent", "parameters, billions", "tokens, billions", "tokens per parameter", "loss")
    note = (
        "Chinchilla itself has 70 billion parameters and 1400 billion tokens, GPT-3 175 and 300. Kaplan counts parameters without "
        "embeddings. Losses of two papers do not compare. Approaches 1 and 2 are placed at the size that their paper gives for this budget."
    )
    return Table("The best model of 5.76e23 operations, by published constants", columns, tuple(rows), note=note, main=True)


def _models_table() -> Table:
    rows = list[tuple[Any, ...]]()
    for model in published.MODELS:
        beside = laws.overtraining(published.EPOCH, model.parameters, model.tokens)
        losses = [_loss(law, model) for law in (published.HOFFMANN, published.EPOCH, published.KAPLAN)]
        ratios = (float(beside.tokens_per_parameter), *losses, float(beside.flops_ratio), float(beside.parameters_ratio))
        rows.append((model.name, model.parameters / 1e9, model.tokens / 1e9, *ratios))
    columns = (
        *("model", "parameters, billions", "tokens, billions", "tokens per parameter"),
        *("loss, approach 3", "loss, fitted again", "loss, Kaplan", "training over the least", "cheaper to serve"),
    )
    note = (
        "By the constants that were fitted again: how many times the least operations for its loss a model took, and how many times "
        "smaller it is than the model that takes the least. Models of other data and tokenisers have other losses than predicted."
    )
    return Table("Models that were trained", columns, tuple(rows), note=note)


def _serving_table() -> Table:
    best = _served()
    whole = 6 * best.parameters * best.tokens + 2 * best.parameters * np.array(SERVED)
    columns = ("served tokens, billions", "parameters, billions", "tokens, billions", "tokens per parameter", "operations in total")
    sizes = (best.parameters / 1e9, best.tokens / 1e9, best.tokens_per_parameter, whole)
    rows = tuple(tuple(map(float, row)) for row in np.stack((np.array(SERVED) / 1e9, *sizes), axis=1))
    return Table("The cheapest model as good as Chinchilla, training and serving together", columns, rows)


def _optima_plot(path: Any) -> Figure:
    series = [Curve(name, BUDGETS, law.optimum(BUDGETS).parameters) for name, law in LAWS.items()]
    caption = "The best number of parameters per budget of training, by published constants."
    options: Any = {"x_label": "operations of training", "y_label": "parameters", "log_x": True, "log_y": True}
    return figures.curves(series, path, caption, **options)


def _overtraining_plot(path: Any) -> Figure:
    model = published.LLAMA_3_8B
    tokens = model.parameters * np.logspace(1, math.log10(1.2 * model.tokens / model.parameters), 60)
    beside = laws.overtraining(published.EPOCH, model.parameters, tokens)
    series = [
        Curve("operations of training, over the least for its loss", beside.tokens_per_parameter, beside.flops_ratio),
        Curve("times cheaper to serve than the cheapest training", beside.tokens_per_parameter, beside.parameters_ratio),
    ]
    marked = f"{model.name} has {model.tokens / model.parameters:.0f} tokens per parameter."
    caption = f"What a model of 8 billion parameters costs beside the best one of equal loss, by its tokens per parameter. {marked}"
    options: Any = {"x_label": "tokens per parameter", "y_label": "ratio", "log_x": True, "log_y": True}
    return figures.curves(series, path, caption, thresholds=[("equal", 1.0)], **options)


def _billions(best: laws.Optimum) -> tuple[float, float]:
    return float(best.parameters) / 1e9, float(best.tokens) / 1e9
