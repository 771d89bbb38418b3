"""Summaries of looks."""

from dataclasses import replace

from components.shared.records.monitoring_summary import Accuracy, Finding, MonitoringSummary

CELLS = [
    {"name": "Dresses", "reference": 0.15, "now": 0.31},
    {"name": "Tops", "reference": 0.85, "now": 0.69},
]
TWICE = "reviews of Dresses come about twice as often as in training: 31 % against 15 %"


def finding(name="product_category", **changes):
    made = Finding(
        **{"name": name, "title": name.replace("_", " "), "words": TWICE, "drifted": True},
        **{"p": 1e-20, "p_holm": 8e-20, "effect": 0.16, "chance": 0.01, "rows": 2000},
        cells=CELLS,
    )
    return replace(made, **changes)


def summary(**changes):
    calm = finding("label", drifted=False, p=0.4, p_holm=0.8, effect=0.01, words="calm")
    made = MonitoringSummary(
        **{"model_name": "reviews", "model_version": "3", "looked_at": "2026-11-16T06:00:00+00:00"},
        **{"since": "2026-11-02T00:00:00+00:00", "until": "2026-11-16T00:00:00+00:00"},
        **{"rows": 2100, "texts": 2000, "verdict": "drifted", "sentence": f"R{TWICE[1:]}."},
        findings=[finding(), calm],
        causes=[],
        not_compared={"the texts as a whole": "the log keeps no texts"},
        **{"alpha": 1 / 365, "alarms_per_year": 1.0, "looks_per_year": 365, "looks_last_year": 12},
        **{"min_rows": 500, "min_effect": 0.01},
        live_accuracy=Accuracy(0.78, 0.75, 0.81, 2100, 300),
        weeks=[
            Accuracy(0.80, 0.76, 0.84, 1100, 160, "2026-W45"),
            Accuracy(0.76, 0.71, 0.81, 1000, 140, "2026-W46"),
        ],
        test_accuracy=Accuracy(0.86, 0.844, 0.875, 1929, 1929),
        concept_drift="yes",
        concept_sentence="78 % are right, worse than on the test.",
        versions={"3": 2100, "2": 900, "other 1": 4},
        notes=["a.parquet is damaged: no footer"],
    )
    return replace(made, **changes)
