"""Does the model serve as it was evaluated? Ask a real model server and compare."""

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.errors import UserError
from components.contracts.files import (
    read_parquet,
    replaced_when_whole,
    sha256_of_file,
    write_json,
)
from components.contracts.labels import CLASS_NAMES
from components.contracts.model_folder import WEIGHTS, check_model_folder
from components.contracts.reviews import PREDICTIONS_SCHEMA
from components.deployment.inference_service import (
    render_inference_service,
    storage_uri_of,
    to_yaml,
)
from components.deployment.model_process import ModelProcess, ServedModel

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Largest difference of a probability: the server rounds to fp32 and pads other batches."""


def check_deployment(
    model_folder: str | Path,
    predictions: str | Path,
    check: str | Path,
    manifest: str | Path,
    *,
    model_name: str,
    version: str,
    sample: int = 64,
    storage_uri: str = "",
    ready_within: float = 300.0,
) -> dict[str, Any]:
    """Start the model in a KServe ModelServer, compare its answers with evaluation's, end it.

    Args:
        model_folder: A whole model folder.
        predictions: What evaluation predicted, Parquet.
        check: JSON file to write the findings to.
        manifest: YAML file to write the InferenceService to.
        model_name: Name of the service.
        version: Version in the registry.
        sample: How many reviews to ask, spread evenly over the predictions.
        storage_uri: Where a cluster fetches the model from.
        ready_within: Seconds that the server has to become ready.

    Returns:
        The findings: rows asked, largest difference, latency of single requests in milliseconds,
        seconds until ready and until ended.

    Raises:
        UserError: If an input is missing, the server does not start or end, or an answer differs.
    """
    folder = check_model_folder(model_folder)
    rows = _sample(Path(predictions), sample)
    service = render_inference_service(
        model_name,
        version,
        storage_uri_of(storage_uri, model_name, version),
        model_digest=sha256_of_file(folder / WEIGHTS),
    )
    with model_server(folder, model_name, version, ready_within) as (server, ready_seconds):
        client = HTTPConnection("127.0.0.1", server.port, timeout=120)
        try:
            latencies, v2_difference = _ask_v2(client, rows, model_name, version)
            v1_difference = _ask_v1(client, rows, model_name, version)
        except (OSError, HTTPException) as error:
            raise UserError(
                f"the model server stopped answering ({error!r}); its log says why"
            ) from error
        finally:
            client.close()
        stopping = time.monotonic()
        server.end()
        ended_seconds = time.monotonic() - stopping
    findings = {
        "model_name": model_name,
        "version": version,
        "protocols": ["v2", "v1"],
        "reviews_asked": len(rows),
        "labels_equal": len(rows),
        "max_probability_difference": max(v2_difference, v1_difference),
        "tolerance": TOLERANCE,
        "latency_ms": {
            "p50": round(float(np.percentile(latencies, 50)), 2),
            "p95": round(float(np.percentile(latencies, 95)), 2),
        },
        "ready_seconds": round(ready_seconds, 2),
        "ended_seconds": round(ended_seconds, 2),
        "storage_uri": service["spec"]["predictor"]["model"]["storageUri"],
    }
    with replaced_when_whole(manifest) as draft:
        draft.write_text(to_yaml(service), encoding="utf-8")
    write_json(check, findings)
    logger.info(
        "%d reviews answered as evaluated over v2 and v1, %.1f ms each (median)",
        len(rows),
        findings["latency_ms"]["p50"],
    )
    return findings


@contextmanager
def model_server(
    model_folder: Path, model_name: str, version: str, ready_within: float
) -> Iterator[tuple[ModelProcess, float]]:
    """A model server on a free port of this machine; it never outlives the block.

    Yields:
        The process, ready, and the seconds that it took to become so.

    Raises:
        UserError: If it ends early or is not ready in time, with the last lines it printed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        started = time.monotonic()
        model = ServedModel(model_name, str(model_folder), version)
        process = ModelProcess.start(model, Path(scratch))
        try:
            process.wait_until_ready(ready_within)
            yield process, time.monotonic() - started
        finally:
            process.kill()


def _sample(predictions: Path, size: int) -> list[dict[str, Any]]:
    """Rows of the predictions, spread evenly over the file."""
    table = read_parquet(predictions, PREDICTIONS_SCHEMA)
    if table.num_rows == 0:
        raise UserError(f"{predictions} holds no rows; evaluate on a test split that has some")
    positions = np.unique(np.linspace(0, table.num_rows - 1, min(size, table.num_rows)).astype(int))
    rows: list[dict[str, Any]] = table.take(positions).to_pylist()
    return rows


def _ask_v2(
    client: HTTPConnection, rows: Sequence[Mapping[str, Any]], model_name: str, version: str
) -> tuple[list[float], float]:
    """Ask each review by itself; latencies in milliseconds and the largest difference."""
    latencies, largest = [], 0.0
    for row in rows:
        started = time.perf_counter()
        answer = _post(
            client,
            f"/v2/models/{model_name}/infer",
            {
                "inputs": [
                    _bytes_tensor("text", row["review_body"]),
                    _bytes_tensor("title", row["title"] or ""),
                ]
            },
        )
        latencies.append((time.perf_counter() - started) * 1000)
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        difference = _compare(
            row, outputs["label"][0], outputs["probabilities"], outputs["model_version"][0], version
        )
        largest = max(largest, difference)
    return latencies, largest


def _ask_v1(
    client: HTTPConnection, rows: Sequence[Mapping[str, Any]], model_name: str, version: str
) -> float:
    """Ask all reviews at once; the largest difference."""
    instances = [{"title": row["title"], "review_body": row["review_body"]} for row in rows]
    answer = _post(client, f"/v1/models/{model_name}:predict", {"instances": instances})
    return max(
        _compare(
            row,
            found["label"],
            [found["probabilities"][name] for name in CLASS_NAMES],
            found["model_version"],
            version,
        )
        for row, found in zip(rows, answer["predictions"], strict=True)
    )


def _bytes_tensor(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [1], "data": [text]}


def _post(client: HTTPConnection, path: str, content: Any) -> Any:
    client.request(
        "POST", path, body=json.dumps(content), headers={"Content-Type": "application/json"}
    )
    response = client.getresponse()
    body = response.read().decode("utf-8", errors="replace")
    if response.status != 200:
        raise UserError(f"the model server answered {path} with {response.status}: {body[:300]}")
    return json.loads(body)


def _compare(
    row: Mapping[str, Any],
    label: str,
    probabilities: Sequence[float],
    told_version: str,
    version: str,
) -> float:
    """Largest difference of a probability from what evaluation found.

    Raises:
        UserError: If label or version differ, or a probability differs beyond the tolerance.
    """
    if told_version != version:
        raise UserError(f"the model server says it serves version {told_version!r}, not {version}")
    expected = [row[f"p_{name}"] for name in CLASS_NAMES]
    difference = float(np.abs(np.subtract(expected, probabilities)).max())
    if label != row["label"] or not difference <= TOLERANCE:
        raise UserError(
            f"review {row['review_id']} is served as {label} "
            f"({', '.join(f'{value:.4f}' for value in probabilities)}), but was evaluated as "
            f"{row['label']} ({', '.join(f'{value:.4f}' for value in expected)}); "
            "serving and evaluation must read the same model folder"
        )
    return difference
