"""AutoML on real data: the leaderboard with its times, and what each candidate reaches on test.

A run of the pipeline reads the test split for the winner alone. Here all candidates are asked,
after the choice was made, so that the choice itself can be judged:

    PYTHONPATH=. python tests/benchmarks/bench_automl.py --data reviews.csv --minutes 20

`--training-run` names the folder of a run of the training pipeline on the same data with the same
seed, which the winner is then compared with on the same test reviews.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from components.shared.machine.files import read_json, read_parquet
from components.shared.records.decision import decide
from components.shared.records.labels import labels_of_file
from components.shared.records.model_folder import read_calibration
from components.shared.records.model_logits import logits_of
from components.shared.records.reviews import PREPARED_SCHEMA, predictions_schema
from components.shared.statistics.paired import paired_differences
from components.shared.statistics.scores import confusion_matrix, score_intervals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--training-run", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the run; a temporary one without")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        measure(given, given.keep or Path(scratch))


def measure(given: argparse.Namespace, root: Path) -> None:
    from pipelines.automl import automl_pipeline
    from pipelines.running.local import run_locally

    os.environ.setdefault("CANDIDATES_AT_ONCE", "1")
    uri = given.data if given.data == "sample" else str(Path(given.data).resolve())
    parameters = {"data_uri": uri, "max_seconds": given.minutes * 60}
    parameters |= {"accuracy_threshold": 0.0, "macro_f1_threshold": 0.0}
    started = time.perf_counter()
    run = run_locally(automl_pipeline, parameters, runs=root / "runs", state=root / "state")
    minutes = (time.perf_counter() - started) / 60
    board = read_json(run.artifact("compare-candidates", "leaderboard_summary"))
    show(board, run.folder)
    print(f"\n{board['sentence']}")
    print(f"the whole run took {minutes:.1f} of {given.minutes:g} minutes:")
    print("  " + ", ".join(f"{name} {value:.0f} s" for name, value in run.seconds.items()))
    if given.training_run:
        against(run.folder, given.training_run)


def show(board: dict, folder: Path) -> None:
    """A line for each candidate, its scores on test at the end."""
    prepared = folder / "prepare-reviews" / "prepared"
    labels, table = labels_of_file(prepared), read_parquet(prepared, PREPARED_SCHEMA)
    test = table.filter(np.asarray(table["split"].to_pylist()) == "test")
    truth = labels.index_of(test["sentiment"].to_numpy())
    models = {
        read_json(one)["name"]: one.parent / "model"
        for one in folder.glob("for-loop-*/try-candidate/candidate/candidate.json")
    }
    print(f"\n{'candidate':12} {'validation':>10} {'behind':>22} {'fit':>8} {'all':>8} ", end="")
    print(f"{'alone':>9} {'reviews/s':>9} {'size':>8} {'test macro-F1':>24} {'accuracy':>8}")
    for row in board["rows"]:
        if row["status"] != "finished":
            print(f"{row['name']:12} {row['status']}: {row['reason']}")
            continue
        made = models[row["name"]]
        decided = decide(logits_of(made, test), read_calibration(made))
        scores = score_intervals(confusion_matrix(truth, decided, len(labels)))
        f1, behind = scores.macro_f1, row["behind"]
        apart = f"{behind['value']:.3f} ({behind['low']:+.3f} to {behind['high']:+.3f})"
        print(
            f"{row['name']:12} {row['macro_f1']:10.4f} {apart:>22} "
            f"{row['training_seconds']:6.1f} s {row['seconds']:6.1f} s "
            f"{1000 * row['latency_seconds']:6.2f} ms "
            f"{row['reviews_per_second']:9,.0f} {row['bytes'] / 1e6:5.1f} MB "
            f"{f1.value:.4f} ({f1.low:.4f} to {f1.high:.4f}) {scores.accuracy.value:8.4f}"
        )


def against(automl: Path, training: Path) -> None:
    """The winner and the default pipeline's model on the same test reviews."""
    tables = []
    for folder in (automl, training):
        path = folder / "evaluate-classifier" / "predictions"
        tables.append(read_parquet(path, predictions_schema(labels_of_file(path))))
    ours, theirs = (table.sort_by("review_id") for table in tables)
    assert ours["review_id"].equals(theirs["review_id"]), "the two runs have other test reviews"
    labels = labels_of_file(automl / "evaluate-classifier" / "predictions")
    classes = [
        labels.index_of(table[name].to_numpy())
        for table, name in ((ours, "sentiment"), (ours, "predicted"), (theirs, "predicted"))
    ]
    f1, accuracy = paired_differences(*classes, len(labels))
    for name, one in (("macro-F1", f1), ("accuracy", accuracy)):
        print(f"winner minus default pipeline, {name}: {one.value:+.4f} ", end="")
        print(f"({one.low:+.4f} to {one.high:+.4f})")


if __name__ == "__main__":
    main()
