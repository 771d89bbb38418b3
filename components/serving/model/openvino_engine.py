"""The forward pass in OpenVINO, on CPUs."""

import queue
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, sha256_of_file
from components.shared.records.engines import EngineCheck
from components.shared.records.model_folder import CONFIG

if TYPE_CHECKING:
    from openvino import Core, InferRequest

_WIDTH_STEP = 4
"""Rows are padded to a multiple of this many tokens. OpenVINO keeps compiled kernels for each shape
that it meets; fewer shapes need less memory, for a few more tokens."""


class OpenVinoEngine:
    """A network that `components.serving.export` wrote, compiled twice.

    A pass that runs alone is shared by all cores, so that a lone request is answered soonest.
    Passes side by side have a core each, so that none waits for another's slower half.

    Attributes:
        name: Of the engine in the folder.
        parallel: Forward passes that run side by side.
    """

    def __init__(self, model_folder: Path, check: EngineCheck, threads: int) -> None:
        """Load and compile the network.

        Args:
            model_folder: A whole model folder.
            check: The engine's entry in the folder.
            threads: Cores that the engine may use.

        Raises:
            UserError: If the network is missing, damaged or cannot be loaded.
        """
        network = model_folder / check.file
        weights = network.with_suffix(".bin")
        if not network.is_file() or not weights.is_file():
            raise UserError(f"{network} or its weights are missing; export the model again")
        if sha256_of_file(weights) != check.sha256:
            raise UserError(f"{weights} is not what was checked at export; export the model again")
        self.name = check.name
        self.parallel = threads
        self._pad_id = int(read_json(model_folder / CONFIG).get("pad_token_id") or 0)
        self._counting = threading.Lock()
        try:
            self._wide = _requests(network, check.precision, threads, streams=1)
            self._narrow = _requests(network, check.precision, threads, streams=threads)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"{network} cannot be loaded ({reason}); export it again") from None
        self._running = 0

    def logits(self, input_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits [n, classes] of n rows of token ids; waits while `parallel` calls run."""
        tokens, mask = padded(input_ids, self._pad_id)
        with self._counting:
            self._running += 1
            free = self._wide if self._running == 1 else self._narrow
        request = free.get()
        try:
            outputs = request.infer({"input_ids": tokens, "attention_mask": mask})
            # The request owns its output memory and fills it again on the next call.
            return np.array(outputs[0], dtype=np.float32)
        finally:
            free.put(request)
            with self._counting:
                self._running -= 1


def _requests(
    network: Path, precision: str, threads: int, streams: int
) -> "queue.SimpleQueue[InferRequest]":
    """The network compiled for a number of passes side by side: a request for each of them."""
    compiled = _core().compile_model(
        network,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        },
    )
    free: queue.SimpleQueue[InferRequest] = queue.SimpleQueue()
    for _ in range(streams):
        free.put(compiled.create_infer_request())
    return free


def padded(
    input_ids: Sequence[Sequence[int]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of token ids as one rectangle.

    Returns:
        Ids and mask [n, width], int64; the mask is 1 where there is a token. The width is that of
        the longest row, rounded up.
    """
    width = -(-max(map(len, input_ids)) // _WIDTH_STEP) * _WIDTH_STEP
    tokens = np.full((len(input_ids), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(input_ids), width), dtype=np.int64)
    for row, ids in enumerate(input_ids):
        tokens[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return tokens, mask


def supports(precision: str) -> bool:
    """Whether this CPU computes in a precision by itself, not by way of another."""
    if precision != "bf16":
        return True
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> "Core":
    from openvino import Core

    return Core()
