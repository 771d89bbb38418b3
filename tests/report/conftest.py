"""Summaries of a made-up run, in the shapes that the steps write."""

import copy
import json
from pathlib import Path

import pytest

from components.shared.machine.files import write_json
from tests.report.reading import Page

SCORES = {"accuracy": 0.871, "macro_f1": 0.712, "balanced_accuracy": 0.7}
CLASSES = ["negative", "neutral", "positive"]


def estimate(value: float) -> dict:
    return {"value": value, "low": value - 0.02, "high": min(1.0, value + 0.02)}


def calibration(error: float) -> dict:
    points = [{"confidence": c, "accuracy": c - error, "rows": 50} for c in (0.5, 0.7, 0.9, 0.99)]
    scores = {"expected_calibration_error": error, "log_loss": 0.4, "brier_score": 0.2}
    return {**scores, "reliability": points}


REASONS = ["Macro-F1 0.712 reaches the threshold 0.600.", "There is no champion yet."]
ROC = {"auc": 0.9, "false_positive_rate": [0, 0.1, 1], "true_positive_rate": [0, 0.8, 1]}
PART = {"name": "other", "rows": 120, "pooled": 7}
PART |= {"accuracy": estimate(0.88), "macro_f1": estimate(0.72)}
MISTAKE = {
    **{"review_id": "r1", "rating": 1, "truth": "negative", "predicted": "positive"},
    **{"probability": 0.97, "title": '<b>bold</b> & "quoted"'},
    "review_body": "nice <script>alert('x')</script>\x00\x1b end",
    "product_category": "<img src=x onerror=alert(1)>",
}
EVALUATION = {
    "rows": 200,
    "classes": CLASSES,
    "majority_class": {"name": "positive", "rate": 0.78},
    "majority_scores": {"accuracy": 0.78, "macro_f1": 0.292},
    "intervals": {"confidence": 0.95, "resamples": 2000},
    "scores": {name: estimate(value) for name, value in SCORES.items()},
    "per_class": [
        {"name": name, "support": 20, **dict.fromkeys(("precision", "recall", "f1"), estimate(0.7))}
        for name in CLASSES
    ],
    "confusion_matrix": [[14, 4, 2], [5, 13, 6], [1, 3, 152]],
    "balanced_view": {"accuracy": estimate(0.76), "confusion_matrix": [[9, 3, 1]] * 3},
    "roc": [ROC | {"name": name} for name in CLASSES],
    "calibration": {
        **{"temperature": 1.4, "temperature_refitted": 1.41, "temperature_agrees": True},
        **{"bins": 15, "binning": "bins of equally many rows", "decision_offsets": [0.3, 0.2, 0.0]},
        **{"before": calibration(0.06), "after": calibration(0.01)},
    },
    "slices": {"category": [PART | {"name": "Dresses", "pooled": 0}, PART]},
    "tokens": {"histogram": [{"from": 0, "rows": 90}, {"from": 64, "rows": 110}]},
    "mistakes": [MISTAKE],
    "mistakes_in_all": 26,
    "champion": {"verdict": "no champion", "margin": 0.01},
    "thresholds": {"accuracy": 0.8, "macro_f1": 0.6, "champion_margin": 0.01},
    "gate": {"passed": True, "reasons": REASONS, "met": [True, True], "warnings": []},
    "warnings": [],
}
LENGTHS = [{"from": 0, "count": 400}, {"from": 900, "count": 0}]
CATEGORY = {"category": None, "count": 3, "negative": 1, "neutral": 1, "positive": 1}
INGEST = {
    **{"source": "s3://bucket/reviews.csv", "files": [{"name": "reviews.csv"}]},
    **{"rows_in": 2000, "rows_kept": 1900, "duplicates": 60, "quarantined": 40},
    "reasons": {"review text is empty": 30, "rating is <script>6</script>": 10},
    "examples": [{"reason": "review text is empty", "line": 17, "source": "reviews.csv"}],
    "fingerprint": "abc123",
    "profile": {
        "ratings": [{"rating": stars, "count": 100 * stars} for stars in (1, 2, 3, 4, 5)],
        **{"categories": [CATEGORY], "categories_in_all": 1, "missing": {"title": 250, "age": 0}},
        "text_length": {"quantiles": {"p50": 300, "p100": 508}, "histogram": LENGTHS},
    },
}
SPLIT = {"rows": 10, "negative": 1, "neutral": 1, "positive": 8, "majority_rate": 0.8}
PREPARE = {
    "splits": dict.fromkeys(("train", "validation", "test"), SPLIT),
    "copies": {"shown": 10, "negative": 1, "neutral": 1, "positive": 8},
    **{"options": {"seed": 42, "balance": "none"}, "unlabelled": 2},
}
FEATURES = {"feature_service": "reviews_1", "rows": 1900, "mean_tokens": 61.5, "truncated": 12}
TRAINING = {
    **{"options": {"learning_rate": 5e-5}, "facts": {"data_fingerprint": "abc123"}},
    "history": [
        {"step": 100, "train_loss": 0.6, "validation_loss": 0.55, "accuracy": 0.8},
        {"step": 200, "train_loss": 0.4, "macro_f1": 0.7, "accuracy": 0.86},
    ],
    "best": {"step": 200, "macro_f1": 0.7},
    "speed": {"samples_per_second": 90.0, "seconds": 12.0},
}
REGISTRATION = {
    **{"model_name": "review-sentiment", "version": "7", "run_id": "run-1", "approval": "approved"},
    **{"lineage": {"data_fingerprint": "abc123"}, "tracking_uri": "sqlite:///mlflow.db"},
}
CHECK = {
    **{"model_name": "review-sentiment", "protocols": ["v2", "v1"], "engine": "openvino-int8"},
    **{"reviews_asked": 64, "labels_equal": 64, "max_probability_difference": 2e-6},
    **{"latency_ms": {"p50": 14.2, "p95": 20.1}, "ready_seconds": 8.0},
}


class RunFolder:
    """Summaries on disk; `compose` writes the report and returns its HTML."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        steps = {"ingest": INGEST, "prepare": PREPARE, "features": FEATURES, "check": CHECK}
        steps |= {"model/training.json": TRAINING, "evaluation": EVALUATION}
        self.contents = copy.deepcopy(steps | {"registration": REGISTRATION})
        self.step_seconds = {"ingest-reviews": 2.0, "fine-tune-classifier": 130.0}
        self.pages = []
        self.run_facts = {"started": "2026-11-21T05:20:11", "parameters": {"data_uri": "<script>"}}

    def compose(self, *, registered: bool = True, checked: bool = True) -> str:
        from components.report.training_page import RunArtifacts, compose_report

        for name, content in self.contents.items():
            write_json(self.folder / name, content)
        names = "ingest", "prepare", "features", "model", "evaluation", "bias"
        names += "registration", "check"
        there = dict.fromkeys(names, True) | {"registration": registered, "check": checked}
        artifacts = RunArtifacts(*(self.folder / name if there[name] else None for name in names))
        report = self.folder / "report.html"
        facts = {"step_seconds": self.step_seconds, "run_facts": self.run_facts}
        facts["pages"] = self.pages
        compose_report(artifacts, report, **facts)
        return report.read_text(encoding="utf-8")


@pytest.fixture
def page_of(tmp_path):
    """Writes an artifact and the page of it, and reads that page."""

    def read(write, content, artifact="artifact.json") -> Page:
        (tmp_path / artifact).write_text(json.dumps(content))
        write(tmp_path / artifact if artifact == "artifact.json" else tmp_path, tmp_path / "page")
        return Page((tmp_path / "page").read_text(encoding="utf-8"))

    return read


@pytest.fixture
def run_folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path)
