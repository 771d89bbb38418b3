"""AdamW with a learning rate of its own for every depth of the network, warm-up and decay."""

from typing import TYPE_CHECKING

from components.training.loop.network import depth_of
from components.training.options import TrainingOptions

if TYPE_CHECKING:
    import torch
    from torch import nn


def build_optimiser(network: "nn.Module", options: TrainingOptions) -> "torch.optim.AdamW":
    """AdamW (Loshchilov & Hutter 2019) over the network's trained parameters.

    Layers below the top learn more slowly by `layer_decay` per layer (Howard & Ruder 2018). Only
    matrices decay, biases and norms don't. The new layers have `head_learning_rate`; a pretrained
    pooler learns like the top layer.

    Args:
        network: From `build_network`.
        options: Rates and decays.

    Returns:
        The optimiser; each group's `peak` is its learning rate after warm-up.
    """
    import torch

    depth = depth_of(network.classifier)
    new_layers = {id(p) for p in network.rating_head.parameters()}
    pooler = getattr(network.classifier.base_model, "pooler", None)
    pooled = set() if pooler is None else {id(p) for p in pooler.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        below = None if id(parameter) in new_layers else depth(name.removeprefix("classifier."))
        if id(parameter) in pooled:
            below = 0
        rate = (
            options.head_learning_rate
            if below is None
            else options.learning_rate * options.layer_decay**below
        )
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": 0.0, "peak": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,
    )


def set_learning_rate(
    optimiser: "torch.optim.Optimizer", step: int, steps: int, warmup_fraction: float
) -> None:
    """Set each group's rate for a step: up to its peak in a line, then down to 0 in a line.

    Args:
        optimiser: From `build_optimiser`.
        step: Counted from 0.
        steps: All steps of the run.
        warmup_fraction: Share of `steps` in which the rate rises.
    """
    share = rate_share(step, steps, warmup_fraction)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


def rate_share(step: int, steps: int, warmup_fraction: float) -> float:
    """Learning rate of a step as a share of its peak, above 0 and at most 1."""
    warmup = int(steps * warmup_fraction)
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / max(1, steps - warmup)
