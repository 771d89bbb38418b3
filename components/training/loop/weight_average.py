"""A running average of the weights, which generalises better than the last ones."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class WeightAverage:
    """Exponential moving average of weights (Polyak & Juditsky 1992).

    Early on, when there is little to average, the decay is lower (Tarvainen & Valpola 2017).

    Attributes:
        weights: The average, one tensor per weight.
    """

    def __init__(self, weights: "list[torch.Tensor]", decay: float) -> None:
        """Start at the given weights.

        Args:
            weights: Their present values are copied.
            decay: Share that each step keeps of the average; 0 follows the weights themselves.
        """
        self.weights = [weight.detach().clone() for weight in weights]
        self._decay = decay

    def update(self, weights: "list[torch.Tensor]", step: int) -> None:
        """Move towards the weights after optimiser step number `step`, counted from 0."""
        import torch

        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(self.weights, [weight.detach() for weight in weights], 1 - decay)
