"""The pipeline steps that judge a model and explain its answers."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Input,
    Metrics,
    Model,
    Output,
)

from components.shared.machine.images import STEP_IMAGE


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def evaluate_classifier(
    model: Input[Model],
    training_set: Input[Dataset],
    prepared: Input[Dataset],
    champion: Input[Model],
    accuracy_threshold: float,
    macro_f1_threshold: float,
    champion_margin: float,
    metrics: Output[Metrics],
    confusion_matrix: Output[ClassificationMetrics],
    roc_curve: Output[ClassificationMetrics],
    predictions: Output[Dataset],
    evaluation_summary: Output[Artifact],
) -> NamedTuple(
    "Outputs",
    [
        ("accuracy", float),
        ("macro_f1", float),
        ("champion_verdict", str),
        ("not_worse_than_champion", str),
    ],
):
    """Judge a model on the test split and compare it with the champion on the same rows.

    Args:
        model: Model folder that training wrote.
        training_set: Tokens and labels of the reviews, all splits.
        prepared: The texts of the same reviews.
        champion: Model folder of the champion; an empty folder if there is none.
        accuracy_threshold: Least accuracy that passes the gate, 0 to 1.
        macro_f1_threshold: Least macro-F1 that passes the gate, 0 to 1.
        champion_margin: Tolerated loss of macro-F1 against the champion, 0 to 1.
        metrics: Scores with their intervals, and the majority-class rate.
        confusion_matrix: Rows are the truth, columns the prediction.
        roc_curve: Negative reviews, which somebody has to answer, against the rest.
        predictions: Truth, decision and calibrated probabilities of every test review.
        evaluation_summary: Everything that the report shows, as JSON.

    Returns:
        Accuracy, macro-F1, the verdict on the champion (better, not worse, worse, no champion),
        and `yes` or `no`: whether the model is not worse than the champion.
    """
    import logging
    from collections import namedtuple
    from pathlib import Path

    from components.evaluation.evaluate import evaluate
    from components.evaluation.gate import GateOptions, not_worse
    from components.shared.machine.tracked_run import GATE_TAG, run_of
    from components.shared.records.model_folder import check_model_folder

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if digest := champion.metadata.get("digest"):
        check_model_folder(champion.path, digest)
    summary = evaluate(
        Path(model.path),
        Path(training_set.path),
        Path(prepared.path),
        Path(champion.path),
        Path(predictions.path),
        Path(evaluation_summary.path),
        GateOptions(accuracy_threshold, macro_f1_threshold, champion_margin),
    )
    scores = summary["scores"]
    for name in ("accuracy", "macro_f1", "balanced_accuracy"):
        metrics.log_metric(name, scores[name]["value"])
        metrics.log_metric(f"{name}_low", scores[name]["low"])
        metrics.log_metric(f"{name}_high", scores[name]["high"])
    metrics.log_metric("majority_class_rate", summary["majority_class"]["rate"])
    metrics.log_metric("balanced_view_accuracy", summary["balanced_view"]["accuracy"]["value"])
    for entry in summary["per_class"]:
        metrics.log_metric(f"f1_{entry['name']}", entry["f1"]["value"])
    for when in ("before", "after"):
        error = summary["calibration"][when]["expected_calibration_error"]
        metrics.log_metric(f"calibration_error_{when}", error)
    metrics.log_metric("test_rows", summary["rows"])

    confusion_matrix.log_confusion_matrix(summary["classes"], summary["confusion_matrix"])
    first = summary["roc"][0]
    if first["threshold"]:
        roc_curve.log_roc_curve(
            first["false_positive_rate"], first["true_positive_rate"], first["threshold"]
        )
        roc_curve.metadata["curve"] = f"{first['name']} against the rest"
        roc_curve.metadata["area_under_curve"] = first["auc"]
    gate = "passed" if summary["gate"]["passed"] else "closed"
    run_of(model.metadata.get("mlflow_run", "")).log(
        {name: scores[name]["value"] for name in scores},
        tags={GATE_TAG: gate, "gate_reasons": " ".join(summary["gate"]["reasons"])},
    )
    predictions.metadata["rows"] = summary["rows"]
    predictions.metadata["mlflow_run"] = model.metadata.get("mlflow_run", "")
    evaluation_summary.metadata["gate_passed"] = summary["gate"]["passed"]

    verdict = summary["champion"]["verdict"]
    outputs = namedtuple(
        "Outputs", ["accuracy", "macro_f1", "champion_verdict", "not_worse_than_champion"]
    )
    return outputs(
        scores["accuracy"]["value"],
        scores["macro_f1"]["value"],
        verdict,
        "yes" if not_worse(verdict) else "no",
    )


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def measure_bias(
    prepared: Input[Dataset],
    predictions: Input[Dataset],
    bias_summary: Output[Artifact],
    bias_page: Output[HTML],
    metrics: Output[Metrics],
    facets: str = "product_category department division age",
    bias_gate: str = "",
) -> NamedTuple("Outputs", within_bias_limit=str):  # type: ignore[valid-type]
    """Measure what differs between groups of reviews: in the data, in training, in the answers.

    Args:
        prepared: All labelled reviews with their facets, splits and copies.
        predictions: Truth and decision of every test review.
        bias_summary: Every metric of every group with its interval, and what differs, JSON.
        bias_page: The same as a page.
        metrics: How many groups differ for sure, by facet.
        facets: What reviews are grouped by; a bar names the facet that CDD compares within, as in
            `product_category|age`.
        bias_gate: Limit on one metric, as in `DPPL:positive:product_category<=0.1`. A group breaks
            it if its whole interval lies beyond. Empty: no limit.

    Returns:
        within_bias_limit: yes or no; yes where no limit was asked for.
    """
    import logging
    from typing import NamedTuple

    from components.evaluation.bias.measure import measure
    from components.report.bias_page import write_bias_page
    from components.shared.machine.tracked_run import GATE_TAG, run_of

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    summary = measure(prepared.path, predictions.path, bias_summary.path, facets, bias_gate)
    write_bias_page(bias_summary.path, bias_page.path)
    for facet in summary["facets"]:
        of = [entry for entry in summary["measures"] if entry["facet"] == facet["name"]]
        differing = {entry["group"] for entry in of if entry["standing"] == "differs"}
        metrics.log_metric(f"groups_that_differ_{facet['name']}", len(differing))
    within = "yes" if summary["gate"]["within"] else "no"
    if within == "no":
        run_of(predictions.metadata.get("mlflow_run", "")).log(
            {}, tags={GATE_TAG: "closed", "gate_reasons": summary["gate"]["reason"]}
        )
    bias_summary.metadata["within_bias_limit"] = within
    return NamedTuple("Outputs", within_bias_limit=str)(within)


@dsl.component(base_image=STEP_IMAGE, install_kfp_package=False)
def explain_model(
    model: Input[Model],
    training_set: Input[Dataset],
    prepared: Input[Dataset],
    explanation_summary: Output[Artifact],
    explanation_page: Output[HTML],
    metrics: Output[Metrics],
    explained_reviews: int = 30,
) -> None:
    """Say which words a model's answers rest on, and prove it by deleting them.

    Args:
        model: Model folder that training wrote.
        training_set: Tokens and labels of the reviews, all splits.
        prepared: The texts of the same reviews.
        explanation_summary: Single answers, words by class and the deletion test, as JSON.
        explanation_page: The same, as a page.
        metrics: Area of the deletion curve with its interval, by chance, error of completeness.
        explained_reviews: Test reviews to explain, equally many of each answer; from 1 up. Each
            takes about a third of a second on two cores.
    """
    import logging
    from pathlib import Path

    from components.evaluation.explanations.explain import explain_answers
    from components.report.explanation_page import write_explanation_page
    from components.shared.machine.tracked_run import run_of

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    summary = explain_answers(
        Path(model.path),
        Path(training_set.path),
        Path(prepared.path),
        explained_reviews,
        Path(explanation_summary.path),
    )
    write_explanation_page(explanation_summary.path, explanation_page.path)
    deletion = summary["deletion"]
    found = {
        "explanation_deletion": deletion["value"],
        "explanation_deletion_low": deletion["low"],
        "explanation_deletion_high": deletion["high"],
        "explanation_deletion_random": deletion["random"],
        "explanation_completeness_error": summary["completeness_error"],
    }
    found = {name: value for name, value in found.items() if value is not None}
    for name, value in found.items():
        metrics.log_metric(name, value)
    metrics.log_metric("explained_reviews", summary["explained"])
    run_of(model.metadata.get("mlflow_run", "")).log(found)
