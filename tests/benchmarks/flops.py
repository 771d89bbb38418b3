"""How many operations a step of training takes, and how many a second the machine could do."""

import statistics
import time

import numpy as np
import torch
from torch import nn

from components.training.loop.network import encoder_layers


def matmul_rate(precision, device, repeats=7, size=2048):
    """The machine's matrix rate: FLOP/s of a product of two square matrices (2 size^3 FLOPs).

    `precision` is bf16 or fp32; the median of so many repeats counts.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(size, size, generator=generator).to(device, dtype)
    right = torch.randn(size, size, generator=generator).to(device, dtype)
    times = []
    for _ in range(repeats + 2):
        begun = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begun)
    return 2 * size**3 / statistics.median(times[2:])


class TrainingWork:
    """Floating-point operations of training steps, as executed on real tokens (no padding).

    Per layer and token, each weight matrix of n entries costs 2n forward, 2n for the gradient of
    its input and 2n for its own (6n in all, Kaplan et al. 2020); attention's two products of
    queries, keys and values cost 4 * width * length forward and twice that backward. What is not
    computed is not counted: gradients of frozen weights and below them, and in the last layer,
    where only the first token is read, all but keys and values for the other tokens. The head
    (one token per row) is left out, as are norms, activations and the optimiser.
    """

    def __init__(self, classifier, first_token_only):
        self._first_token_only = first_token_only
        self._width = int(classifier.config.hidden_size)
        self._entries: list[int] = []
        self._trained: list[bool] = []
        for layer in encoder_layers(classifier):
            matrices = [m.weight for m in layer.modules() if isinstance(m, nn.Linear)]
            self._entries.append(sum(matrix.numel() for matrix in matrices))
            self._trained.append(any(matrix.requires_grad for matrix in matrices))
        embeddings = classifier.get_input_embeddings()
        self._embeddings_trained = bool(embeddings.weight.requires_grad)

    def flops(self, lengths):
        tokens, pairs, rows = float(np.sum(lengths)), float(np.sum(lengths**2)), float(len(lengths))
        total = 0.0
        gradient_below = self._embeddings_trained
        for number, (entries, trained) in enumerate(zip(self._entries, self._trained, strict=True)):
            last = self._first_token_only and number == len(self._entries) - 1
            projections = 3 * self._width**2  # queries, keys, values
            reading = 2 * self._width**2 if last else projections
            for_all = reading if last else entries
            for_first = entries - reading if last else 0
            forward = 2 * (for_all * tokens + for_first * rows)
            attention = 4 * self._width * (tokens if last else pairs)
            backward = 0.0
            if trained or gradient_below:
                inputs = forward
                if not gradient_below:
                    # The lowest trained layer: nothing below wants its projections' gradient.
                    inputs -= 2 * reading * tokens
                backward = inputs + 2 * attention + (forward if trained else 0.0)
            total += forward + attention + backward
            gradient_below = gradient_below or trained
        return total
