"""What training and serving a language model cost, and after how many days serving has cost as much as training.

    gendiff plan --cost --parameters 70e9 --tokens 1.4e12 --users 1e6 --user-tokens 5000

Training takes 6 operations per parameter and token, serving 2, and both the products of attention. Nothing is measured:
every number is the reader's. A number of which only a range is known is given by its two ends.
"""

from collections.abc import Sequence

from gendiff.commands.plan import named_devices
from gendiff.commands.plan.cost_options import CostOptions
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Catalogue
from gendiff.runs.reporting import formatting
from gendiff.scaling import cost, price

Power = tuple[tuple[float, ...], int]
"""A `Range` and the power in which it is a factor."""


def call(options: CostOptions, catalogue: Catalogue, progress: Progress) -> None:
    """Prints the costs."""
    if options.smoke:
        options = CostOptions((1e3,), (1e4,), (1.0,), (1e3, 2e3), per_hour=(1.0,))
    print(*lines(options), sep="\n", flush=True)


def lines(options: CostOptions) -> list[str]:
    """What the command prints."""
    device = named_devices.PUBLISHED[options.accelerator]
    forward = [(options.parameters, 1), ((_per_parameter(options),), 1)]
    training = [((3.0,), 1), *forward, (options.tokens, 1)]
    served = [(options.users, 1), (options.user_tokens, 1)]
    hours = ((1 / device.flops / price.HOUR,), 1)
    slow, slower = (options.utilisation, -1), (options.serving_utilisation, -1)
    text = [
        f"training: {_text(*training)} FLOP, {_text(*training, slow, hours)} hours of {device.name}",
        f"serving: {_text(*forward)} FLOP per token, {_text(*served)} tokens per day, "
        f"{_text(*forward, *served, slower, hours)} hours per day",
    ]
    if options.per_hour is not None:
        hour = (options.per_hour, 1)
        million, daily = [((1e6,), 1), *forward, slower, hours, hour], [*forward, *served, slower, hours, hour]
        bill = [*training, slow, hours, hour] if options.training_cost is None else [(options.training_cost, 1)]
        text.append(
            f"price: training {_text(*bill)}, serving {_text(*daily)} per day, {_text(*million)} per million tokens"
        )
    tokens = break_even_tokens(options)
    days = _text(*tokens, *_inverse(served))
    text.append(f"serving has cost as much as training after {days} days, which is {_text(*tokens)} tokens")
    if "[" in days:
        text.append("in brackets: intervals of the level of the ranges, which are taken as independent and log-normal")
    return text


def break_even_tokens(options: CostOptions) -> list[Power]:
    """Tokens that are served until serving has cost as much as training, as factors."""
    slow, slower = (options.utilisation, -1), (options.serving_utilisation, -1)
    if options.training_cost is None or options.per_hour is None:
        return [((3.0,), 1), (options.tokens, 1), slow, *_inverse([slower])]
    hours = ((1 / named_devices.PUBLISHED[options.accelerator].flops / price.HOUR,), 1)
    token = [(options.parameters, 1), ((_per_parameter(options),), 1), slower, hours, (options.per_hour, 1)]
    return [(options.training_cost, 1), *_inverse(token)]


def _per_parameter(options: CostOptions) -> float:
    """Operations of a forward pass of one token, over the parameters."""
    if options.attention is None:
        return 2.0
    layers, width, context = options.attention
    attention = cost.attention_flops(cost.mean_seen(context), layers, 1, width)
    return float(cost.forward_flops(options.parameters[0], attention=attention)) / options.parameters[0]


def _inverse(factors: Sequence[Power]) -> list[Power]:
    return [(values, -power) for values, power in factors]


def _text(*factors: Power) -> str:
    value, low, high = price.product_interval(*((values[0], values[-1], power) for values, power in factors))
    return _number(value) + (f" [{_number(low)}, {_number(high)}]" if low < high else "")


def _number(value: float) -> str:
    return formatting.scaled(value, "").strip() if 999.5 <= value < 1e18 else f"{value:.3g}"
