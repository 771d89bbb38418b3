"""The processes that train one model together, and what they say to each other.

Data-parallel training (Li et al. 2020, "PyTorch Distributed"): every process, a *rank*, holds the
whole model and computes the gradient of its share of each batch; the sum over the ranks is the
gradient of the batch, and all take the same optimiser step. `torchrun` starts the ranks, with one
GPU each where there are GPUs, and says through the environment who is who.

The sum is taken once per step over one fp32 vector, not by `DistributedDataParallel`: that would
add the bf16 gradients of the network that computes, rounding again, and asks each rank for rows and
each parameter for a gradient, which the last batch of an epoch and the options need not give.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from components.shared.machine.errors import UserError

TIMEOUT = timedelta(minutes=5)
"""A rank that is silent for this long is given up. Longer than the first one needs to write a
checkpoint of a large model to a slow volume, while the others wait. A rank that dies is noticed
sooner, by its closed connection or by torchrun."""

Saved = tuple[dict[str, torch.Tensor], dict[str, Any]]
"""What a checkpoint holds: tensors by name, and JSON-ready progress."""


def _default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class Ranks:
    """This process among those that train together. Alone, talking to the others does nothing.

    What talks to the others raises `ConnectionError` if one of them is gone.

    Attributes:
        number: Number of this process, from 0.
        count: Processes in all.
        device: Where this one computes; the GPU where there is one.
    """

    number: int = 0
    count: int = 1
    device: torch.device = field(default_factory=_default_device)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.number == 0

    @property
    def machine(self) -> str:
        """What all processes together compute on, in words."""
        if self.device.type == "cuda":
            return f"{self.count} x {torch.cuda.get_device_name(self.device)}"
        cores = f"{len(os.sched_getaffinity(0))} CPU cores"
        return cores if self.count == 1 else f"{self.count} processes with {cores} each"

    @property
    def share(self) -> slice:
        """This process's part of any sequence: every `count`-th element.

        Shares are disjoint, together they are the whole, and their sizes differ by one at most.
        Of rows sorted by length, their tokens differ by less than the longest row.
        """
        return slice(self.number, None, self.count)

    def sum(self, *tensors: torch.Tensor) -> None:
        """Put the sum over all ranks in the place of each tensor, the same bits on every rank."""
        for tensor in tensors:
            self._talk(dist.all_reduce, tensor)

    def copy_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors, the same shapes on every rank, with those of the first rank."""
        for tensor in tensors:
            self._talk(dist.broadcast, tensor.data, 0)

    def checkpoint_from_first(self, saved: Saved | None) -> Saved | None:
        """Give every rank the checkpoint that the first one read; what others pass is ignored."""
        if self.count == 1:
            return saved
        tensors, progress = saved if self.first and saved else ({}, None)
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        shapes, progress = json.loads(self._text_from_first(json.dumps([shapes, progress])))
        if progress is None:
            return None
        copies = {}
        for name, shape in shapes.items():
            copies[name] = torch.empty(shape, device=self.device)
            if self.first:
                copies[name].copy_(tensors[name])
        self.copy_from_first(copies.values())
        return copies, progress

    def check_same(self, facts: Mapping[str, str]) -> None:
        """Raise `UserError` on every rank unless these facts, by name, are the same on all."""
        if self.count == 1:
            return
        digests = b"".join(hashlib.sha256(fact.encode()).digest() for fact in facts.values())
        mine = torch.tensor(list(digests), dtype=torch.uint8, device=self.device)
        every = [torch.empty_like(mine) for _ in range(self.count)]
        self._talk(dist.all_gather, every, mine)
        table = torch.stack(every).view(self.count, len(facts), -1).cpu()
        differs = (table != table[0]).any(dim=2)
        for rank in range(self.count):
            names = [n for n, other in zip(facts, differs[rank].tolist(), strict=True) if other]
            if names:
                raise UserError(
                    f"rank {rank} was started with another {', '.join(names)} than rank 0; "
                    "start all nodes with the same arguments, files and image"
                )

    def wait(self) -> None:
        """Wait until every rank is here."""
        self._talk(dist.barrier)

    def _text_from_first(self, text: str) -> str:
        """The first rank's text, on every rank."""
        content = torch.tensor(list(text.encode()), dtype=torch.uint8, device=self.device)
        size = torch.tensor(len(content), device=self.device)
        self.copy_from_first([size])
        if not self.first:
            content = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        self.copy_from_first([content])
        return bytes(content.tolist()).decode()

    def _talk(self, operation: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Do what needs the other ranks, and say it in words when one is gone."""
        if self.count == 1:
            return
        try:
            operation(*arguments, **named)
        except RuntimeError as error:
            reason = str(error).strip().split(". ")[0]
            raise ConnectionError(
                f"rank {self.number} of {self.count} lost the others ({reason}); "
                "started again, the run goes on from its last checkpoint"
            ) from error


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Connect this process with the others that `torchrun` started, if it did.

    GPUs talk through NCCL, CPUs through Gloo. The variables are torchrun's: WORLD_SIZE, RANK,
    LOCAL_RANK, MASTER_ADDR and MASTER_PORT.

    Yields:
        This process among the others.

    Raises:
        UserError: If the node has fewer GPUs than processes.
        ConnectionError: If the others cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    number, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise UserError(
                f"process {local} of this node has no GPU, the node has "
                f"{torch.cuda.device_count()}; start as many processes per node as it has GPUs"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    ranks = Ranks(number, count, device)
    ranks._talk(
        dist.init_process_group,
        "nccl" if device.type == "cuda" else "gloo",
        timeout=TIMEOUT,
        device_id=device if device.type == "cuda" else None,
    )
    yield ranks
    # Not after an error: others may be gone, and leaving in order waits for them.
    dist.destroy_process_group()
