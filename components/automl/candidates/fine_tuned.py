"""The encoder fine-tuned whole, as the training pipeline does it: by the training room's command.

The rooms do not know each other, so they meet at a command: what is run here is what
makes the model again, and a process that is ended leaves nothing behind.
"""

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.automl.candidate import Candidate
from components.automl.task import Task
from components.shared.machine.base_model import resolve_base_model
from components.shared.machine.errors import UserError
from components.shared.machine.files import (
    read_parquet,
    sha256_of_file,
    surviving_folder,
    write_json,
)
from components.shared.records.reviews import TRAINING_SET_SCHEMA

_BATCH, _LEAST_STEPS = 32, 300
"""Training's own defaults: reviews of a step, and the steps that small data get at least."""

_TOKENS_READ = 0.85
"""Share of the tokens that training reads: it drops the others."""

_AROUND = 30.0
"""Seconds of a training that are not steps: loading, and the looks at the validation rows."""

_PASSES = 6
"""Passes of which the fastest counts, in 16 bits and in 32."""

FIRST = {"epochs": 3}


def fit(
    task: Task, parameters: Mapping[str, Any], seed: int, deadline: float, folder: Path
) -> None:
    """Fine-tune in a process of its own: as many of the epochs as fit, and no longer than that."""
    epochs, left = int(parameters["epochs"]), deadline - time.time()
    while epochs > 1 and math.isfinite(left) and _seconds(task, epochs) > left:
        epochs -= 1
    command = [sys.executable, "-m", "components.training", "--training-set", task.training_set]
    command += ["--base-model", task.base_model, "--output", folder, "--seed", seed]
    command += ["--epochs", epochs]
    if math.isfinite(left):
        command += ["--max-seconds", max(1.0, left - _AROUND)]
    facts = (sha256_of_file(task.training_set), task.base_model, epochs, seed)
    if checkpoints := surviving_folder("automl-fine-tuned", *facts):
        command += ["--checkpoints", checkpoints]
    with tempfile.TemporaryDirectory() as workshop:
        write_json(Path(workshop) / "facts.json", dict(task.facts))
        command += ["--facts-file", Path(workshop) / "facts.json"]
        _run([str(part) for part in command])


def _run(command: list[str]) -> None:
    """Run the command, pass on what it says, and raise what it ends with."""
    last = ""
    with subprocess.Popen(  # noqa: S603 (our own command)
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stderr or ():
            print(line, end="", file=sys.stderr, flush=True)
            last = line.strip() or last
    if process.returncode:
        raise UserError(last.removeprefix("error: ") or f"it ended with {process.returncode}")


def estimate(task: Task) -> float:
    """Seconds of one epoch, or of as many as small data get: the least that is worth beginning."""
    return _seconds(task, 1)


def _seconds(task: Task, epochs: int) -> float:
    """Seconds of a training, by a step that was measured here."""
    if "step" not in task.kept:
        rows = read_parquet(task.training_set, TRAINING_SET_SCHEMA, ["split", "copies", "n_tokens"])
        copies = np.where(
            np.asarray(rows["split"].to_pylist()) == "train", rows["copies"].to_numpy(), 0
        )
        mean = float(np.average(rows["n_tokens"].to_numpy(), weights=copies))
        task.kept["steps"] = math.ceil(int(copies.sum()) / _BATCH)
        task.kept["step"] = _seconds_of_step(task.base_model, max(2, round(_TOKENS_READ * mean)))
    of_epoch = task.kept["steps"]
    steps = of_epoch * max(epochs, math.ceil(_LEAST_STEPS / of_epoch))
    return _AROUND + steps * float(task.kept["step"])


def _seconds_of_step(base_model: str, width: int) -> float:
    """Seconds of a forward and a backward pass of the encoder, in the faster precision."""
    import torch
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        encoder = AutoModel.from_pretrained(
            resolve_base_model(base_model),
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"base model {base_model} cannot be loaded ({error})") from None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder.to(device).get_input_embeddings().requires_grad_(False)  # as training leaves them
    tokens = torch.ones((_BATCH, width), dtype=torch.long, device=device)
    fastest = math.inf
    for sixteen_bits in (True, False):
        for _ in range(_PASSES):  # the first makes kernels; others may wait for other processes
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=sixteen_bits):
                states = encoder(input_ids=tokens).last_hidden_state
            states.float().square().mean().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            fastest = min(fastest, time.perf_counter() - started)
    return fastest


CANDIDATE = Candidate(
    name="fine_tuned",
    about="the encoder, all of it trained",
    cost=3,
    first=FIRST,
    searched=(),
    estimate=estimate,
    fit=fit,
)
