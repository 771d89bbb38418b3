"""From a trained model folder to one that serves fast: the same network for OpenVINO, checked."""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.serving.model.engine import OpenVinoEngine
from components.serving.reference import add_reference
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet, replaced_when_whole, sha256_of_file
from components.shared.machine.inference import load_model, predict_logits
from components.shared.machine.openvino_network import converted
from components.shared.records.decision import decide, probabilities
from components.shared.records.engines import EngineCheck, write_engines
from components.shared.records.file_list import FILE_LIST
from components.shared.records.labels import labels_of_file
from components.shared.records.model_folder import check_model_folder, kind_of, read_calibration
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from components.shared.records.sparse_model import SPARSE

if TYPE_CHECKING:
    from openvino import Model
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

FULL = "openvino/model.xml"
"""The network with the weights as they are, computed in fp32 or bf16."""
INT8 = "openvino/model_int8.xml"
"""The network with weights and activations of 8 bits."""

EXPORTED_ENGINES: tuple[tuple[str, str, str], ...] = (
    ("openvino-int8-bf16", INT8, "bf16"),
    ("openvino-int8", INT8, "f32"),
    ("openvino-bf16", FULL, "bf16"),
    ("openvino-fp32", FULL, "f32"),
)
"""Name, file and precision of each engine; of the 8-bit ones, that of what is left in between."""

CALIBRATION_REVIEWS = 300
"""Training reviews whose activations decide the ranges of the 8-bit numbers."""

_BATCH = 8


def export_for_serving(
    model_folder: str | Path,
    training_set: str | Path,
    exported: str | Path,
    *,
    prepared: str | Path = "",
    predictions: str | Path = "",
    max_reviews: int = 2000,
) -> list[EngineCheck]:
    """Copy a model folder and add the network for OpenVINO, whole and in 8 bits.

    Each engine is compared with torch in fp32 on the validation split; one that differs stays in
    the folder, marked as not to be served. Returns the comparisons, engine by engine.

    The training set's split `train` calibrates the 8-bit network, `validation` checks the engines,
    with at most `max_reviews` of its reviews, spread evenly. A sparse model needs no engine.

    Where the prepared reviews and the predictions for their test split are given, the folder also
    gets what monitoring and masking go by (`reference.add_reference`).

    Raises:
        UserError: If the folder is incomplete, the training set lacks one of the splits, or an
            input does not fit the model.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    folder = check_model_folder(model_folder)

    def copy_to(draft: Path) -> None:
        shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(FILE_LIST))
        if prepared:
            add_reference(draft, prepared, predictions, training_set)

    if kind_of(folder) == SPARSE:
        with replaced_when_whole(exported) as draft:
            copy_to(draft)
        logger.info("a sparse model serves as it is")
        return []
    splits = _splits(Path(training_set), max_reviews)
    model = load_model(folder).cpu()
    reference = predict_logits(model, splits["validation"][0])
    with replaced_when_whole(exported) as draft:
        copy_to(draft)
        (draft / FULL).parent.mkdir()
        _write_networks(model, splits["train"][0], draft)
        checks = [
            _check(draft, name, file, precision, *splits["validation"], reference)
            for name, file, precision in EXPORTED_ENGINES
        ]
        write_engines(draft, checks)
    for check in checks:
        logger.log(
            logging.INFO if check.may_serve else logging.WARNING,
            "%s: %.1f %% of %d labels as torch's, macro-F1 %.3f (torch %.3f), "
            "probabilities within %.4f%s",
            *(check.name, check.labels_equal * 100, check.reviews),
            *(check.macro_f1, check.macro_f1_reference, check.max_probability_difference),
            "" if check.may_serve else "; it will not serve",
        )
    return checks


def _splits(
    training_set: Path, max_reviews: int
) -> dict[str, tuple[list[list[int]], NDArray[np.int64]]]:
    """Token ids and class indices of evenly spread rows of the two splits."""
    table = read_parquet(training_set, TRAINING_SET_SCHEMA)
    labels = labels_of_file(training_set)
    split = np.asarray(table["split"].to_pylist())
    chosen = {}
    for name, limit in (("train", CALIBRATION_REVIEWS), ("validation", max_reviews)):
        rows = np.flatnonzero(split == name)
        if not len(rows):
            raise UserError(f"{training_set} has no {name} rows; prepare the data again")
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(int))]
        reviews = table.take(rows)
        classes = labels.index_of(reviews["sentiment"].to_numpy())
        chosen[name] = (reviews["input_ids"].to_pylist(), classes)
    return chosen


def _write_networks(
    model: "PreTrainedModel", calibration: Sequence[Sequence[int]], folder: Path
) -> None:
    """Convert the model, quantise it, and write both networks."""
    # Read by OpenVINO's and NNCF's telemetry, which is on otherwise and would send what we do.
    os.environ.setdefault("CI", "true")
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    pad_id = int(model.config.pad_token_id or 0)
    network = converted(model, pad_id)
    openvino.save_model(network, folder / FULL, compress_to_fp16=False)
    quantised = nncf.quantize(
        network,
        nncf.Dataset(calibration, _unpadded),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(calibration),
        ignored_scope=nncf.IgnoredScope(names=_of_first_token(network, model)),
    )
    openvino.save_model(quantised, folder / INT8, compress_to_fp16=True)


def _unpadded(row: Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """The network's inputs for a row by itself: padding would influence the ranges."""
    ids = np.array([row], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _of_first_token(network: "Model", model: "PreTrainedModel") -> list[str]:
    """Products that are computed for the first token alone: the last layer but keys and values.

    They are a small part of the work, and nothing after them evens their rounding out: they stay
    in 16 bits.
    """
    last = f".encoder.layer.{getattr(model.config, 'num_hidden_layers', 0) - 1}."
    names = [op.get_friendly_name() for op in network.get_ops() if op.get_type_name() == "MatMul"]
    return [
        name
        for name in names
        if (last in name and ".self.key" not in name and ".self.value" not in name)
        or ".pooler." in name
        or ".network.classifier" in name
    ]


def _check(
    folder: Path,
    name: str,
    file: str,
    precision: str,
    input_ids: list[list[int]],
    classes: NDArray[np.int64],
    reference: NDArray[np.float32],
) -> EngineCheck:
    """Compare an engine's answers with the reference's, for reviews in batches and alone.

    An engine may take other ways for one row than for several, and a server meets both.
    """
    from sklearn.metrics import f1_score

    calibration = read_calibration(folder)
    sha256 = sha256_of_file((folder / file).with_suffix(".bin"))
    unchecked = EngineCheck(name, file, sha256, precision, 0.0, 0.0, 0.0, 0.0, len(input_ids))
    engine = OpenVinoEngine(folder, unchecked, threads=len(os.sched_getaffinity(0)))
    logits = np.empty_like(reference)
    order = np.argsort([len(row) for row in input_ids], kind="stable")
    for number, batch in enumerate(np.array_split(order, max(1, len(order) // _BATCH))):
        for rows in [batch] if number % 2 else batch[:, None]:
            logits[rows] = engine.logits([input_ids[row] for row in rows])
    labels, expected = decide(logits, calibration), decide(reference, calibration)
    difference = probabilities(logits, calibration) - probabilities(reference, calibration)

    def macro_f1(predicted: NDArray[np.int64]) -> float:
        known = range(logits.shape[1])
        return float(f1_score(classes, predicted, labels=known, average="macro", zero_division=0))

    return replace(
        unchecked,
        labels_equal=float((labels == expected).mean()),
        macro_f1=macro_f1(labels),
        macro_f1_reference=macro_f1(expected),
        max_probability_difference=float(np.abs(difference).max()),
    )
