"""Writing the model folder of a sparse model, calibrated on validation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.automl.task import Task
from components.shared.machine.files import replaced_when_whole, write_json
from components.shared.records.decision import Calibration, log_softmax
from components.shared.records.model_card import write_model_card
from components.shared.records.model_folder import (
    CALIBRATION,
    CONFIG,
    TRAINING,
    WEIGHTS,
    check_model_folder,
)
from components.shared.records.reviews import splits_digest
from components.shared.records.sparse_model import FEATURES, SPARSE, features_of
from components.shared.statistics.scores import confusion_matrix, scores_of


def write_sparse_folder(
    folder: Path,
    task: Task,
    features: Mapping[str, Any],
    numbers: Mapping[str, NDArray[np.float32]],
    options: Mapping[str, Any],
) -> None:
    """Write a model folder of the sparse kind.

    Its decisions are the linear layer's own. The probabilities are fitted to the frequencies of
    validation: a temperature, and an offset of each class that joins the bias and is taken back
    where the class is decided, so that a layer trained with class weights has honest probabilities.

    Args:
        folder: Replaced in one rename when everything is written.
        task: What was learned.
        features: Content of `features.json`, see `sparse_model`.
        numbers: `weights`, `bias` and what the features need.
        options: How it was trained, for `training.json`.
    """
    from safetensors.numpy import save_file

    found = features_of(features, numbers)(task.validation.texts)
    logits = np.asarray(found @ numbers["weights"] + numbers["bias"])
    temperature, offsets = fit_probabilities(logits, task.validation.classes)
    decided = logits.argmax(axis=1)
    scores = scores_of(confusion_matrix(task.validation.classes, decided, len(task.labels)))
    bias = (numbers["bias"] + temperature * offsets).astype(np.float32)
    calibration = Calibration(temperature, tuple((0.0 - offsets).round(6).tolist()))
    names = task.labels.names
    config = {
        "model_type": SPARSE,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "decision_offsets": list(calibration.decision_offsets),
    }
    has_tokens = task.training_set.is_file()
    training = {
        "options": dict(options),
        "facts": {name: value for name, value in task.facts.items() if name != "max_tokens"},
        "base_model": "",
        "max_tokens": 0,
        "class_prior": task.class_prior,
        "rows": {"train": len(task.training), "validation": len(task.validation)},
        "splits": splits_digest(task.training_set) if has_tokens else "",
        "test_split": splits_digest(task.training_set, "test") if has_tokens else "",
        "best": {"macro_f1": float(scores.macro_f1), "accuracy": float(scores.accuracy)},
        "history": [],
        "speed": {},
    }
    with replaced_when_whole(folder) as draft:
        draft.mkdir()
        tensors = {**numbers, "bias": bias}
        save_file(
            {name: np.ascontiguousarray(one) for name, one in tensors.items()}, draft / WEIGHTS
        )
        write_json(draft / FEATURES, features)
        write_json(draft / CONFIG, config)
        write_json(draft / CALIBRATION, calibration.to_dict())
        write_json(draft / TRAINING, training)
        write_model_card(draft)
        for file in draft.iterdir():
            file.chmod(0o644)
        check_model_folder(draft)


def fit_probabilities(
    logits: NDArray[np.float32], classes: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """Temperature and class offsets that make held-out logits as probable as possible.

    Temperature scaling with a bias of each class (Alexandari et al. 2020, "Maximum Likelihood with
    Bias-Corrected Calibration"). A slight pull towards no offset keeps that of a class without
    held-out rows finite. The first offset is 0.
    """
    from scipy.optimize import minimize

    rows = np.arange(len(classes))

    def loss(found: NDArray[np.float64]) -> float:
        offsets = np.concatenate([[0.0], found[1:]])
        scaled = logits / np.exp(found[0]) + offsets
        likelihood = log_softmax(scaled)[rows, classes].mean()
        return float(-likelihood + 1e-4 * (found**2).sum())

    bounds = [(np.log(0.02), np.log(20.0)), *[(-10.0, 10.0)] * (logits.shape[1] - 1)]
    found = minimize(loss, np.zeros(logits.shape[1]), method="L-BFGS-B", bounds=bounds).x
    return float(np.exp(found[0])), np.concatenate([[0.0], found[1:]])
