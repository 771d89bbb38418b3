"""The encoder as it is, and a linear layer on what it says of the first token.

The network is an ordinary classifier, so that everything serves it: the layer before the last is
set to pass the encoder's output on, and only the last one is learned. The encoder runs over the
texts once, through OpenVINO, in 16 bits where the processor has them; all trials share what it
gave.
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.automl.candidate import Candidate, OutOfTimeError
from components.automl.sparse_folder import fit_probabilities
from components.automl.task import Task
from components.shared.machine.base_model import load_tokenizer, resolve_base_model
from components.shared.machine.errors import UserError
from components.shared.machine.search_space import Parameter
from components.shared.records.decision import Calibration

if TYPE_CHECKING:
    from openvino import CompiledModel
    from transformers import PreTrainedModel

_BATCH = 8
_MEASURED = 64
"""Texts that the cost is measured on."""

_NEVER = -50.0
"""Logit of a class that training never showed."""

FIRST = {"C": 1.0, "class_weight": "balanced"}

SEARCHED = (
    Parameter("C", "double", 0.01, 100.0, distribution="logUniform"),
    Parameter("class_weight", "categorical", choices=("balanced", "none")),
)


def fit(
    task: Task, parameters: Mapping[str, Any], seed: int, deadline: float, folder: Path
) -> None:
    """Learn the last layer, and write a model folder of the usual kind."""
    from sklearn.linear_model import LogisticRegression

    from components.shared.records.network_folder import write_model_folder
    from components.shared.records.reviews import splits_digest

    if "features" not in task.kept:
        texts = [*task.training.texts, *task.validation.texts]
        found = _features(task, _tokens(task, texts), deadline)
        task.kept["features"] = found[: len(task.training)], found[len(task.training) :]
    training, validation = task.kept["features"]
    weight = None if parameters["class_weight"] == "none" else "balanced"
    model = LogisticRegression(C=float(parameters["C"]), class_weight=weight, max_iter=500)
    middle, spread = training.mean(axis=0), training.std(axis=0) + 1e-6
    model.fit((training - middle) / spread, task.training.classes)
    weights = np.zeros((len(task.labels), training.shape[1]), dtype=np.float32)
    bias = np.full(len(task.labels), _NEVER, dtype=np.float32)
    rows, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        rows, intercepts = (np.concatenate([-one, one]) / 2 for one in (rows, intercepts))
    rows = rows / spread  # on the features as they are
    weights[model.classes_], bias[model.classes_] = rows, intercepts - rows @ middle
    logits = validation @ weights.T + bias
    temperature, offsets = fit_probabilities(logits, task.validation.classes)
    bias = bias + temperature * offsets.astype(np.float32)
    classifier = _classifier(task, weights, bias)
    has_tokens = task.training_set.is_file()
    write_model_folder(
        folder,
        classifier,
        task.base_model,
        Calibration(temperature, tuple((0.0 - offsets).round(6).tolist())),
        {
            "options": {"candidate": "frozen_encoder", **parameters},
            "facts": {name: value for name, value in task.facts.items() if name != "max_tokens"},
            "base_model": task.base_model,
            "max_tokens": int(task.facts["max_tokens"]),
            "class_prior": task.class_prior,
            "rows": {"train": len(task.training), "validation": len(task.validation)},
            "splits": splits_digest(task.training_set) if has_tokens else "",
            "test_split": splits_digest(task.training_set, "test") if has_tokens else "",
            "history": [],
            "speed": {},
        },
    )


def estimate(task: Task) -> float:
    """Seconds of the whole trial: the encoder over all texts, by the speed over a few."""
    started = time.perf_counter()
    _network(task)
    loaded = time.perf_counter() - started
    few = task.training.texts[:: max(1, len(task.training) // _MEASURED)][:_MEASURED]
    tokens = _tokens(task, few)
    _features(task, tokens[:_BATCH], np.inf)
    started = time.perf_counter()
    _features(task, tokens, np.inf)
    of_text = (time.perf_counter() - started) / len(few)
    return 2 * loaded + of_text * (len(task.training) + len(task.validation))


def _classifier(
    task: Task, weights: NDArray[np.float32] | None = None, bias: NDArray[np.float32] | None = None
) -> "PreTrainedModel":
    """The encoder with a head that passes its output on, and the last layer if it is known."""
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    names = task.labels.names
    try:
        classifier = AutoModelForSequenceClassification.from_pretrained(
            resolve_base_model(task.base_model),
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: index for index, name in enumerate(names)},
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"base model {task.base_model} cannot be loaded ({error})") from None
    with torch.no_grad():
        for name, layer in classifier.named_modules():
            square = isinstance(layer, torch.nn.Linear) and layer.in_features == layer.out_features
            if square and ".layer." not in name:
                torch.nn.init.eye_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
        last = _last(classifier)
        if weights is not None:
            last.weight.copy_(torch.from_numpy(weights))
            last.bias.copy_(torch.from_numpy(bias))
    return classifier.eval()


def _last(classifier: "PreTrainedModel") -> Any:
    import torch

    return [one for one in classifier.modules() if isinstance(one, torch.nn.Linear)][-1]


def _network(task: Task) -> "tuple[CompiledModel, int]":
    """The classifier up to its last layer, compiled for this processor, and the padding's id."""
    if "network" not in task.kept:
        import openvino
        import torch

        from components.shared.machine.openvino_network import converted

        classifier = _classifier(task)
        last = _last(classifier)
        with torch.no_grad():  # The last layer passes on what it reads.
            last.weight = torch.nn.Parameter(torch.eye(last.in_features))
            last.bias = torch.nn.Parameter(torch.zeros(last.in_features))
        pad_id = int(classifier.config.pad_token_id or 0)
        core = openvino.Core()
        fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        wanted = {"INFERENCE_PRECISION_HINT": "bf16" if fast else "f32"}
        wanted["INFERENCE_NUM_THREADS"] = len(os.sched_getaffinity(0))
        network = core.compile_model(converted(classifier, pad_id), "CPU", wanted)
        task.kept["network"] = network, pad_id
    return task.kept["network"]  # type: ignore[no-any-return]


def _tokens(task: Task, texts: Sequence[str]) -> list[list[int]]:
    tokenizer = load_tokenizer(task.base_model).backend_tokenizer
    tokenizer.enable_truncation(int(task.facts["max_tokens"]))
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]


def _features(task: Task, tokens: Sequence[Sequence[int]], deadline: float) -> NDArray[np.float32]:
    """What the last layer reads of each text, [n, width]; `OutOfTimeError` after the deadline."""
    from components.shared.machine.openvino_network import padded

    network, pad_id = _network(task)
    order = np.argsort([len(row) for row in tokens], kind="stable")
    request, found = network.create_infer_request(), []
    for start in range(0, len(order), _BATCH):
        if time.time() > deadline:
            raise OutOfTimeError
        ids, mask = padded([tokens[row] for row in order[start : start + _BATCH]], pad_id)
        outputs = request.infer({"input_ids": ids, "attention_mask": mask})
        found.append(np.array(outputs[0], dtype=np.float32))
    features = np.concatenate(found)
    features[order] = features.copy()
    return features


CANDIDATE = Candidate(
    name="frozen_encoder",
    about="the encoder as it is, a linear layer on top",
    cost=2,
    first=FIRST,
    searched=SEARCHED,
    estimate=estimate,
    fit=fit,
)
