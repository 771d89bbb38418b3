"""The candidates side by side on validation: which of them are not distinguishable, who wins.

The winner is the cheapest of those that are not distinguishable from the best (the rule of one
standard error, Breiman et al. 1984, with a paired bootstrap in its place): a difference that the
validation rows cannot show is not worth paying for at each answer.
"""

import logging
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.automl.trials import FINISHED, MODEL, NOT_BEGUN, RECORD
from components.shared.machine.errors import UserError
from components.shared.machine.files import (
    read_json,
    read_parquet,
    replaced_when_whole,
    write_json,
)
from components.shared.records.labels import labels_of_file
from components.shared.records.model_folder import check_model_folder
from components.shared.records.reviews import PREPARED_SCHEMA
from components.shared.statistics.paired import paired_differences
from components.shared.statistics.scores import confusion_matrix, score_intervals

logger = logging.getLogger(__name__)


def compare_candidates(
    candidates: Sequence[str | Path],
    prepared: str | Path,
    winner: str | Path,
    summary: str | Path,
) -> dict[str, Any]:
    """Compare what was tried, copy the winner's model folder, and write the leaderboard as JSON.

    Args:
        candidates: Folders that `try_candidate` wrote.
        prepared: The reviews, of which the validation rows are the truth.
        winner: Where to copy the winner's model folder.
        summary: Where to write the leaderboard.

    Returns:
        The content of `summary`: winner, sentence, rows (the best first, then what was not begun
        or failed), validation rows, classes.

    Raises:
        UserError: If no candidate finished.
    """
    records = [(Path(folder), read_json(Path(folder) / RECORD)) for folder in candidates]
    labels = labels_of_file(prepared)
    table = read_parquet(prepared, PREPARED_SCHEMA, ["sentiment", "split"])
    held_out = table.filter(np.asarray(table["split"].to_pylist()) == "validation")
    truth = labels.index_of(held_out["sentiment"].to_numpy())
    finished = [record for _, record in records if record["status"] == FINISHED]
    others = [record for _, record in records if record["status"] != FINISHED]
    if not finished:
        raise UserError(_nothing_finished(others))
    finished.sort(key=lambda record: -record["macro_f1"])
    best = np.asarray(finished[0]["decided"])
    rows = []
    for record in finished:
        decided = np.asarray(record["decided"])
        loss, _ = paired_differences(truth, best, decided, len(labels))
        scores = score_intervals(confusion_matrix(truth, decided, len(labels)))
        row = {name: value for name, value in record.items() if name != "decided"}
        rows.append(
            row
            | {"scores": {n: getattr(scores, n).to_dict() for n in ("macro_f1", "accuracy")}}
            | {"behind": loss.to_dict(), "distinguishable": loss.low > 0}
            | {"command": command_of(record)}
        )
    alike = [row for row in rows if not row["distinguishable"]]
    won = min(alike, key=lambda row: row["latency_seconds"])
    content = {
        "winner": won["name"],
        "sentence": _sentence(alike, won, len(truth), others=len(rows) - len(alike)),
        "validation_rows": len(truth),
        "classes": list(labels.names),
        "rows": [*rows, *others],
    }
    source = next(folder for folder, record in records if record["name"] == won["name"]) / MODEL
    check_model_folder(source)
    with replaced_when_whole(winner) as draft:
        shutil.copytree(source, draft)
    write_json(summary, content)
    logger.info("%s", content["sentence"])
    return content


def command_of(record: Mapping[str, Any]) -> str:
    """What makes a candidate's model again, in the folder of the run on one machine."""
    given = [f"{name}={value}" for name, value in record["parameters"].items()]
    return shlex.join(
        [
            *("python", "-m", "components.automl", "--candidate", record["name"]),
            *("--prepared", "prepare-reviews/prepared"),
            *("--training-set", "retrieve-training-set/training_set"),
            *("--base-model", record["base_model"], "--max-tokens", str(record["max_tokens"])),
            *("--seed", str(record["seed"]), "--output", f"{record['name']}-again"),
            *(("--parameters", *given) if given else ()),
        ]
    )


def _sentence(
    alike: Sequence[Mapping[str, Any]], won: Mapping[str, Any], rows: int, others: int
) -> str:
    """The line that matters."""
    answers = f"it answers in {1000 * won['latency_seconds']:.3g} ms"
    if len(alike) == 1:
        alone = "is the only candidate that finished" if not others else "is better than the others"
        return f"{won['name']} {alone} on {rows:,} validation rows; {answers}"
    names = [row["name"] for row in alike]
    return (
        f"{', '.join(names[:-1])} and {names[-1]} are not distinguishable on {rows:,} validation "
        f"rows; the cheapest of them is {won['name']}: {answers}"
    )


def _nothing_finished(records: Sequence[Mapping[str, Any]]) -> str:
    """Why there is no winner, and what to do."""
    reasons = "; ".join(f"{record['name']}: {record['reason']}" for record in records)
    if all(record["status"] == NOT_BEGUN for record in records):
        return f"no candidate fits into the budget ({reasons}); give more minutes, as in MINUTES=20"
    return f"no candidate finished ({reasons})"
