"""On how many nodes and GPUs training runs on Kubeflow.

Read when a pipeline is compiled: set `TRAINING_NODES` and `TRAINING_GPUS` (of each node). With one
node and at most one GPU the training step computes in its own pod; otherwise it launches a TrainJob
and waits. Tuning's trials have the same size. On one machine leave both unset.
"""

import os
from dataclasses import dataclass

from components.shared.machine.errors import UserError
from components.training.on_nodes.train_job import is_one_process


@dataclass(frozen=True)
class TrainingScale:
    """How many pods train together, with how many GPUs each; 0 trains on the CPU."""

    nodes: int = 1
    gpus_per_node: int = 1

    @property
    def in_own_pod(self) -> bool:
        """Whether one process is enough, which then is the step itself."""
        return is_one_process(self.nodes, self.gpus_per_node)


def scale_of_environment() -> TrainingScale:
    """The scale that `TRAINING_NODES` and `TRAINING_GPUS` ask for; one node with one GPU if unset.

    Raises:
        UserError: If one of them is not a whole number, or there would be no node.
    """
    return TrainingScale(_number("TRAINING_NODES", 1), _number("TRAINING_GPUS", 0))


def _number(variable: str, least: int) -> int:
    text = os.environ.get(variable) or "1"
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"{variable} is {text!r}; set it to a whole number from {least} up")
    return int(text)
