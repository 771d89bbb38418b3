"""What computes the forward pass: OpenVINO or torch, and the choice of the fastest."""

import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, sha256_of_file
from components.shared.machine.first_token_layer import compute_first_token_only
from components.shared.machine.inference import load_model, predict_logits
from components.shared.machine.openvino_network import padded
from components.shared.records.engines import TORCH, EngineCheck, read_engines
from components.shared.records.model_folder import CONFIG, kind_of, read_training_facts
from components.shared.records.model_logits import load_sparse
from components.shared.records.sparse_model import SPARSE, SparseModel

if TYPE_CHECKING:
    from openvino import Core, InferRequest

logger = logging.getLogger(__name__)

AUTO = "auto"
"""The fastest engine of the folder on this machine."""

# A typical batch: four reviews of eighty tokens, or of what the model reads where that is less.
_TRIAL_REVIEWS = 4
_TRIAL_TOKENS = 80
_TRIALS = 5
_AS_FAST = 1.05
"""Engines whose times differ by no more than this factor are equally fast: so much is noise."""

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


class TorchEngine:
    """The weights of a model folder in torch; fp32 on CPUs, bf16 on GPUs."""

    name = TORCH
    parallel = 1  # A forward pass uses all cores, or the GPU, by itself.

    def __init__(self, model_folder: Path, threads: int) -> None:
        """Load the weights; raises `UserError` if they cannot be loaded."""
        import torch

        torch.set_num_threads(threads)
        self._model = load_model(model_folder)
        if self._model.device.type == "cuda":
            self._model.to(torch.bfloat16)
        compute_first_token_only(self._model)

    def logits(self, input_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits [n, classes] of n rows of token ids."""
        return predict_logits(self._model, input_ids)


class OpenVinoEngine:
    """A network that `components.serving.export` wrote, compiled twice.

    A pass that runs alone is shared by all cores, so that a lone request is answered soonest.
    Passes side by side, at most `parallel`, have a core each, so that none waits for another's
    slower half.
    """

    def __init__(self, model_folder: Path, check: EngineCheck, threads: int) -> None:
        """Compile the network for `threads` cores; raises `UserError` if that is not possible."""
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

    def run_side_by_side(self) -> None:
        """Give each pass one core from now on, also one that happens to run alone.

        For work that is never short of passes: between two of them, the next would take all cores,
        and the one beside it would wait.
        """
        self._wide = self._narrow

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


def load_engine(
    model_folder: Path, wanted: str = AUTO
) -> OpenVinoEngine | TorchEngine | SparseModel:
    """Load the engine that serves a model folder; a sparse model is its own.

    On a GPU that is torch. On a CPU it is the fastest of the engines in the folder that agree with
    the reference, and of those as fast the most faithful; measured here and now, because the
    machine that serves may not be the one that exported. Torch where the folder has none.

    Args:
        model_folder: A complete model folder.
        wanted: `auto`, `torch` or the name of an engine in the folder.

    Raises:
        UserError: If the folder has no such engine, or the export marked it as too different from
            the reference.
    """
    if kind_of(model_folder) == SPARSE:
        if wanted in (AUTO, SPARSE):
            return load_sparse(model_folder)
        raise UserError(f"{model_folder} is a sparse model and has no engine {wanted!r}; use auto")
    engines, cores = read_engines(model_folder), cpu_limit()
    if wanted == TORCH or (wanted == AUTO and (_has_gpu() or not engines)):
        return TorchEngine(model_folder, cores)
    if wanted != AUTO:
        return OpenVinoEngine(model_folder, _named(engines, wanted, model_folder), cores)
    usable = [check for check in engines if check.may_serve and supports(check.precision)]
    if not usable:
        logger.warning("no engine in %s agrees with torch; torch serves", model_folder)
        return TorchEngine(model_folder, cores)
    if len(usable) > 1 and any(not check.is_reference for check in usable):
        usable = [check for check in usable if not check.is_reference]
    tokens = min(_TRIAL_TOKENS, int(read_training_facts(model_folder)["max_tokens"]))
    fast: dict[str, OpenVinoEngine] = {}
    seconds: dict[str, float] = {}
    for check in usable:  # One after the other: memory is needed for a few engines, not for all.
        engine = OpenVinoEngine(model_folder, check, cores)
        seconds[check.name] = _trial_seconds(engine.logits, tokens)
        fast[check.name] = engine
        limit = _AS_FAST * min(seconds.values())
        fast = {name: engine for name, engine in fast.items() if seconds[name] <= limit}
    differences = {check.name: check.max_probability_difference for check in usable}
    chosen = fast[min(fast, key=differences.__getitem__)]
    logger.info(
        "%s serves (%s for %d reviews of %d tokens, on %d cores)",
        chosen.name,
        ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in seconds.items()),
        _TRIAL_REVIEWS,
        tokens,
        cores,
    )
    return chosen


def _named(engines: list[EngineCheck], wanted: str, model_folder: Path) -> EngineCheck:
    for check in engines:
        if check.name == wanted:
            if check.may_serve:
                return check
            raise UserError(
                f"engine {wanted} gives {check.labels_equal:.1%} of the reviews torch's label, "
                f"macro-F1 {check.macro_f1:.3f} instead of {check.macro_f1_reference:.3f}, and "
                f"probabilities that differ by up to {check.max_probability_difference:.3f}; "
                "choose another"
            )
    names = ", ".join([TORCH, *(check.name for check in engines)])
    raise UserError(f"{model_folder} has no engine {wanted!r}; it has {names}")


def _trial_seconds(
    logits: Callable[[Sequence[Sequence[int]]], NDArray[np.float32]], tokens: int
) -> float:
    """Median duration of a typical forward pass; the first, which compiles kernels, left out."""
    durations = []
    for _ in range(_TRIALS + 1):
        started = time.perf_counter()
        logits([[1] * tokens] * _TRIAL_REVIEWS)
        durations.append(time.perf_counter() - started)
    return float(np.median(durations[1:]))


def cpu_limit(v2: Path = _CGROUP_V2, v1: Path = _CGROUP_V1) -> int:
    """Whole cores that this process may use: the container's limit, not the node's size.

    Quota and period in microseconds are in the file `v2` or, in control groups version 1, in two
    files of the folder `v1`. A limit of 1.5 cores gives 2, so that half a core is not left idle.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _cpu_quota(v2, v1)
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def _cpu_quota(v2: Path, v1: Path) -> float:
    """Cores by the control group's quota; 0 where there is none."""
    try:
        quota, period = v2.read_text().split()
    except (OSError, ValueError):
        try:
            quota = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 0.0
    if quota == "max" or int(quota) <= 0:
        return 0.0
    return int(quota) / int(period)


def supports(precision: str) -> bool:
    """Whether this CPU computes in a precision natively."""
    known = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision != "bf16" or "BF16" in known


def _has_gpu() -> bool:
    """Whether there is a GPU; asked of the driver's device, because importing torch takes long."""
    return Path("/dev/nvidiactl").exists()


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


@cache
def _core() -> "Core":
    from openvino import Core

    return Core()
