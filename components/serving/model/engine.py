"""What computes the forward pass: one small interface, and the choice of the fastest."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from components.serving.model.cpu_limit import cpu_limit
from components.shared.machine.errors import UserError
from components.shared.records.engines import TORCH, EngineCheck, read_engines
from components.shared.records.model_folder import read_training_facts

logger = logging.getLogger(__name__)

AUTO = "auto"
"""The fastest engine of the folder on this machine."""

# A typical batch: four reviews of eighty tokens, or of what the model reads where that is less.
_TRIAL_REVIEWS = 4
_TRIAL_TOKENS = 80
_TRIALS = 5
# Of engines that are as fast as each other, the one that the folder names first.
_CLEARLY = 0.9


class Engine(Protocol):
    """A network that turns token ids into logits.

    Attributes:
        name: Such as `openvino-int8`; told in the model's metadata.
        parallel: How many threads may call `logits` at once.
    """

    name: str
    parallel: int

    def logits(self, input_ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits [n, classes] of n rows of token ids, unpadded, special tokens included."""
        ...


def load_engine(model_folder: Path, wanted: str = AUTO) -> Engine:
    """Load the engine that serves a model folder.

    On a GPU that is torch. On a CPU it is the fastest of the engines in the folder that agree with
    the reference, measured here and now, because the machine that serves may not be the one that
    exported; torch where the folder has none.

    Args:
        model_folder: A whole model folder.
        wanted: `auto`, `torch` or the name of an engine in the folder.

    Raises:
        UserError: If the folder has no such engine, or it was found to differ from the reference.
    """
    engines = read_engines(model_folder)
    if wanted == TORCH or (wanted == AUTO and (_has_gpu() or not engines)):
        return _torch(model_folder)
    if wanted != AUTO:
        return _openvino(model_folder, _named(engines, wanted, model_folder))
    from components.serving.model.openvino_engine import supports

    usable = [check for check in engines if check.may_serve and supports(check.precision)]
    if not usable:
        logger.warning("no engine in %s agrees with torch; torch serves", model_folder)
        return _torch(model_folder)
    if len(usable) > 1 and any(not check.is_reference for check in usable):
        usable = [check for check in usable if not check.is_reference]
    tokens = min(_TRIAL_TOKENS, int(read_training_facts(model_folder)["max_tokens"]))
    fastest, seconds = None, {}
    for check in usable:  # One after the other: memory is needed for two engines, not for all.
        engine = _openvino(model_folder, check)
        seconds[engine.name] = _trial_seconds(engine.logits, tokens)
        if fastest is None or seconds[engine.name] < _CLEARLY * seconds[fastest.name]:
            fastest = engine
    logger.info(
        "%s serves (%s for %d reviews of %d tokens, on %d cores)",
        fastest.name,
        ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in seconds.items()),
        _TRIAL_REVIEWS,
        tokens,
        cpu_limit(),
    )
    return fastest


def _named(engines: list[EngineCheck], wanted: str, model_folder: Path) -> EngineCheck:
    for check in engines:
        if check.name == wanted:
            if check.may_serve:
                return check
            raise UserError(
                f"engine {wanted} gives {check.labels_equal:.1%} of the reviews torch's label and "
                f"macro-F1 {check.macro_f1:.3f} instead of {check.macro_f1_reference:.3f}; "
                "choose another"
            )
    names = ", ".join([TORCH, *(check.name for check in engines)])
    raise UserError(f"{model_folder} has no engine {wanted!r}; it has {names}")


def _torch(model_folder: Path) -> Engine:
    from components.serving.model.torch_engine import TorchEngine

    return TorchEngine(model_folder, cpu_limit())


def _openvino(model_folder: Path, check: EngineCheck) -> Engine:
    from components.serving.model.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(model_folder, check, cpu_limit())


def _has_gpu() -> bool:
    """Whether there is a GPU; asked of the driver's device, because importing torch takes long."""
    return Path("/dev/nvidiactl").exists()


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
