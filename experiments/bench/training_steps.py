"""An optimizer step on a loss, on either side, with AdamW as language models are trained (Touvron et al., 2023, section
2.3).
"""

from collections.abc import Callable, Iterable
from typing import Any

from experiments.bench.lazily import devices, jax, optax, optimizers, torch, training

ADAMW: dict[str, Any] = {"rate": 3e-4, "betas": (0.9, 0.95), "decay": 0.1}


def ours(
    loss: Any, params: Any, batch: Any, optimizer: Any = None, averages: tuple[float, ...] = ()
) -> Callable[[], Any]:
    """A step; the answer is (parameters after it, metrics). The state is donated, so that the parameters are copied
    first.

    optimizer: of optax, by default AdamW. averages: decays of moving averages of the parameters.
    """
    optimizer = optimizer or adamw()
    update = training.make_step(loss, optimizer, ema_warm_up=False)  # torch averages with a constant decay as well
    held = [training.start(params, optimizer, jax.random.key(0), averages)]
    step = devices.compiled(devices.jit(update, donate_argnums=0), held[0], batch)

    def run() -> Any:
        held[0], metrics = step(held[0], batch)
        return held[0].params, metrics

    return run


def adamw(rate: float = ADAMW["rate"], **options: Any) -> Any:
    """Ours, without updates that are not finite. options: of `optax.adamw`."""
    return optimizers.FiniteUpdates(*optax.adamw(rate, *ADAMW["betas"], weight_decay=ADAMW["decay"], **options))


def theirs(loss_of: Callable[[], Any], optimizer: Any, clipped: Iterable[Any] = ()) -> Callable[[], Any]:
    """A step by torch; the answer is the loss before it. clipped: parameters whose gradients have the norm 1 at
    most.
    """
    clipped = list(clipped)

    def run() -> Any:
        loss = loss_of()
        loss.backward()
        if clipped:
            torch.nn.utils.clip_grad_norm_(clipped, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return run


def torch_adamw(parameters: Iterable[Any], rate: float = ADAMW["rate"], **options: Any) -> Any:
    """The peer's. options: of `torch.optim.AdamW`."""
    return torch.optim.AdamW(
        parameters, lr=rate, betas=ADAMW["betas"], weight_decay=ADAMW["decay"], fused=True, **options
    )
