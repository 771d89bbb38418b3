"""Does the model serve as it was evaluated? Ask a real model server and compare."""

import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from components.deployment.kserve.inference_service import render_inference_service, storage_uri_of
from components.deployment.local.model_process import ModelProcess, ServedModel
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet, replaced_when_whole, write_json
from components.shared.machine.options import Options, option
from components.shared.records.engines import EXACT, MIN_LABELS_EQUAL, probability_bound
from components.shared.records.file_list import folder_digest
from components.shared.records.labels import labels_of_file
from components.shared.records.model_folder import check_model_folder, read_class_names
from components.shared.records.open_inference import infer_path, infer_request, text_in, values_in
from components.shared.records.reviews import predictions_schema

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest difference of a probability where the engine that evaluated serves: the server rounds to
fp32 and pads other batches. Other engines compute in fewer bits; they must give the labels of
`MIN_LABELS_EQUAL` of the reviews, as at their export, and these are other reviews."""


@dataclass(frozen=True)
class CheckOptions(Options, called="check option"):
    """How long the check waits, and how much may differ."""

    ready_within_seconds: float = option(300.0, "time that the server has to start", 0.001, 86400)
    max_probability_difference: float = option(
        0.0, "largest difference of a probability; 0 takes twice what the engine's export may", 0, 1
    )

    def tolerance(self, engine: str) -> float:
        """The largest difference of a probability that an engine may show here."""
        if engine in EXACT:
            return TOLERANCE
        return self.max_probability_difference or 2 * probability_bound(engine)


@dataclass(frozen=True)
class Source:
    """Where a version's folder comes from: its artifact's URI, and its digest in the registry."""

    uri: str = ""
    digest: str = ""


def check_deployment(
    model_folder: str | Path,
    predictions: str | Path,
    check: str | Path,
    manifest: str | Path,
    *,
    model_name: str,
    version: str,
    source: Source = Source(),
    options: CheckOptions = CheckOptions(),
) -> dict[str, Any]:
    """Start the model in the model server, compare its answers with evaluation's, end it.

    Up to 256 reviews are asked, spread evenly over the predictions: one by one over protocol v2,
    all at once over v1. The result goes to the JSON file `check`, the InferenceService that a
    cluster would get to the YAML file `manifest`.

    Returns:
        The result: engine, rows asked, equal labels, largest difference of a probability,
        latency of single requests in milliseconds, seconds until ready and until ended.

    Raises:
        UserError: If an input is missing, the server does not start or end, or its answers differ
            from the evaluation's by more than its engine may.
    """
    import yaml

    folder = check_model_folder(model_folder, source.digest)
    digest = source.digest or folder_digest(folder)
    rows = _sample(Path(predictions), 256)
    evaluated, own = labels_of_file(predictions).names, read_class_names(folder)
    if evaluated != own:
        raise UserError(
            f"{predictions} is of the classes {', '.join(evaluated)} and {folder} answers "
            f"{', '.join(own)}; evaluate this model"
        )
    uri = storage_uri_of(source.uri, model_name, version)
    service = render_inference_service(model_name, version, uri, model_digest=digest)
    with tempfile.TemporaryDirectory() as scratch:
        started = time.monotonic()
        model = ServedModel(model_name, str(folder), version, digest)
        server = ModelProcess.start(model, Path(scratch))
        try:
            server.wait_until_ready(options.ready_within_seconds)
            ready_seconds = time.monotonic() - started
            with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client:
                engine = _asked(client, f"/v2/models/{model_name}").json()["platform"]
                latencies, v2_answers = _ask_v2(client, rows, model_name)
                v1_answers = _ask_v1(client, rows, model_name)
            stopping = time.monotonic()
            server.end()
            ended_seconds = time.monotonic() - stopping
        except httpx.HTTPError as error:
            raise UserError(
                f"the model server stopped answering ({error!r}): {server.last_lines()}"
            ) from error
        finally:
            server.kill()
    tolerance, least = options.tolerance(engine), 1.0 if engine in EXACT else MIN_LABELS_EQUAL
    compared = [
        _compared(rows, answers, version, tolerance, least) for answers in (v2_answers, v1_answers)
    ]
    p50, p95 = np.percentile(latencies, [50, 95])
    result = {
        "model_name": model_name,
        "version": version,
        "protocols": ["v2", "v1"],
        "reviews_asked": len(rows),
        "engine": engine,
        "labels_equal": min(equal for equal, _ in compared),
        "max_probability_difference": max(difference for _, difference in compared),
        "tolerance": tolerance,
        "latency_ms": {"p50": round(float(p50), 2), "p95": round(float(p95), 2)},
        "ready_seconds": round(ready_seconds, 2),
        "ended_seconds": round(ended_seconds, 2),
        "storage_uri": uri,
    }
    with replaced_when_whole(manifest) as draft:
        draft.write_text(yaml.safe_dump(service, sort_keys=False), encoding="utf-8")
    write_json(check, result)
    logger.info(
        "%d of %d reviews labelled as evaluated over v2 and v1 by %s, %.1f ms each (median)",
        *(result["labels_equal"], len(rows), engine, p50),
    )
    return result


def _sample(predictions: Path, size: int) -> list[dict[str, Any]]:
    """Rows of the predictions, spread evenly over the file."""
    table = read_parquet(predictions, predictions_schema(labels_of_file(predictions)))
    if table.num_rows == 0:
        raise UserError(f"{predictions} holds no rows; evaluate on a test split that has some")
    positions = np.unique(np.linspace(0, table.num_rows - 1, min(size, table.num_rows)).astype(int))
    rows: list[dict[str, Any]] = table.take(positions).to_pylist()
    return rows


class _Answer(NamedTuple):
    """What a server said of a review."""

    label: str
    probabilities: Sequence[float]
    version: str


def _ask_v2(
    client: httpx.Client, rows: Sequence[Mapping[str, Any]], model_name: str
) -> tuple[list[float], list[_Answer]]:
    """Ask each review by itself; latencies in milliseconds and the answers."""
    latencies, answers = [], []
    for row in rows:
        request = infer_request(row["title"], row["review_body"])
        started = time.perf_counter()
        answer = _asked(client, infer_path(model_name), request).content
        latencies.append((time.perf_counter() - started) * 1000)
        label, version = text_in(answer, "label"), text_in(answer, "model_version")
        answers.append(_Answer(label, values_in(answer, "probabilities"), version))
    return latencies, answers


def _ask_v1(
    client: httpx.Client, rows: Sequence[Mapping[str, Any]], model_name: str
) -> list[_Answer]:
    """Ask all reviews at once."""
    instances = [{"title": row["title"], "review_body": row["review_body"]} for row in rows]
    answer = _asked(client, f"/v1/models/{model_name}:predict", {"instances": instances})
    return [
        _Answer(one["label"], list(one["probabilities"].values()), one["model_version"])
        for one in answer.json()["predictions"]
    ]


def _asked(client: httpx.Client, path: str, content: Any = None) -> httpx.Response:
    """The answer to a GET, or to a POST of content."""
    answer = client.get(path) if content is None else client.post(path, json=content)
    if answer.status_code != 200:
        raise UserError(
            f"the model server answered {path} with {answer.status_code}: {answer.text[:300]}"
        )
    return answer


def _compared(
    rows: Sequence[Mapping[str, Any]],
    answers: Sequence[_Answer],
    version: str,
    tolerance: float,
    least_equal: float,
) -> tuple[int, float]:
    """How many labels are as evaluated, and the largest difference of a probability.

    A `UserError` if the server says that it serves another version, if a probability differs by
    more than the tolerance, or if fewer than this share of the labels are as evaluated.
    """
    relabelled, furthest, largest = [], 0, 0.0
    for index, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        if answer.version != version:
            raise UserError(
                f"the model server says it serves version {answer.version!r}, not {version}"
            )
        difference = float(np.abs(np.subtract(_expected(row), answer.probabilities)).max())
        if not difference <= largest:
            furthest, largest = index, difference
        if answer.label != row["label"]:
            relabelled.append(index)
    equal = len(rows) - len(relabelled)
    if equal >= len(rows) * least_equal and largest <= tolerance:
        return equal, largest
    index = relabelled[0] if equal < len(rows) * least_equal else furthest
    row, answer = rows[index], answers[index]
    raise UserError(
        f"reviews are not served as they were evaluated ({equal} of {len(rows)} labels equal, "
        f"probabilities differ by up to {largest:.4f}, allowed: {tolerance:g}): "
        f"{row['review_id']} is served as {answer.label} ({_shown(answer.probabilities)}), but was "
        f"evaluated as {row['label']} ({_shown(_expected(row))}); serve with another --engine, or "
        "export the model again"
    )


def _expected(row: Mapping[str, Any]) -> list[float]:
    return [chance for name, chance in row.items() if name.startswith("p_")]


def _shown(probabilities: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in probabilities)
