"""Fp32 master weights with a bf16 copy that computes.

After Micikevicius et al. 2018, "Mixed Precision Training". Weights are cast once per step, where
autocast casts activations back and forth all along.
"""

import copy
from typing import TYPE_CHECKING

from components.shared.machine.first_token_layer import compute_first_token_only
from components.training.loop.network import head_modules

if TYPE_CHECKING:
    import torch
    from torch import nn


_ALIGNED = 16
"""Gradients begin at multiples of this many numbers, as tensors of their own would."""


def fast_precision(device: "torch.device") -> str:
    """`bf16` where the device multiplies it faster than fp32, else `fp32`."""
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _cpu_multiplies_bf16() else "fp32"


class WorkingCopy:
    """The network that computes, in bf16 or fp32, beside the fp32 masters that the optimiser moves.

    Attributes:
        network: Call this one; the head stays fp32 whatever the encoder's precision.
        masters: The trained parameters in fp32.
        gradients: Those of all masters in one fp32 vector, of which each `grad` is a view; what
            lies between them stays 0.
        first_token_only: Whether the last layer is computed for the first token alone.
    """

    def __init__(self, network: "nn.Module", precision: str, device: "torch.device") -> None:
        """Copy a network.

        Args:
            network: From `build_network`, fp32; its parameters are the masters.
            precision: `bf16` or `fp32`.
            device: Where both live.
        """
        import torch

        network.to(device)
        self.network = copy.deepcopy(network)
        classifier = self.network.classifier
        self.first_token_only = compute_first_token_only(classifier)
        if precision == "bf16":
            heads = head_modules(classifier)
            classifier.bfloat16()
            for module in heads:
                module.float()
                module.register_forward_pre_hook(_to_fp32)
        trained = [
            (master, working)
            for master, working in zip(network.parameters(), self.network.parameters(), strict=True)
            if master.requires_grad
        ]
        self.masters = [master for master, _ in trained]
        self._working = [working for _, working in trained]
        starts = [0]
        for master in self.masters:
            starts.append(starts[-1] + -(-master.numel() // _ALIGNED) * _ALIGNED)
        self.gradients = torch.zeros(starts.pop(), device=device)
        for master, start in zip(self.masters, starts, strict=True):
            master.grad = self.gradients[start : start + master.numel()].view_as(master)

    def collect_gradients(self) -> None:
        """Move the gradients that the copy computed to the masters, in fp32."""
        import torch

        with torch.no_grad():
            for master, working in zip(self.masters, self._working, strict=True):
                if working.grad is None:
                    master.grad.zero_()
            pairs = [
                (master.grad, working.grad)
                for master, working in zip(self.masters, self._working, strict=True)
                if working.grad is not None
            ]
            if pairs:  # a rank without rows of a batch has none
                torch._foreach_copy_([to for to, _ in pairs], [given for _, given in pairs])
            for working in self._working:
                working.grad = None

    def load(self, weights: "list[torch.Tensor]") -> None:
        """Compute with these weights, one tensor per master, from now on."""
        import torch

        with torch.no_grad():
            torch._foreach_copy_(self._working, weights)

    def refresh(self) -> None:
        """Compute with the masters' present values."""
        self.load(self.masters)


def _to_fp32(_: "nn.Module", inputs: tuple) -> tuple:
    """Forward pre-hook: floating inputs in fp32."""
    return tuple(x.float() if x.is_floating_point() else x for x in inputs)


def _cpu_multiplies_bf16() -> bool:
    """Whether the CPU has bf16 dot products or tiles; emulated bf16 is slower than fp32."""
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_sve_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in checks)
