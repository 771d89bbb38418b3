"""`README.md` of a model folder: a model card as the Hugging Face hub reads and shows it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.machine.base_model import hub_id
from components.shared.machine.files import read_json
from components.shared.records.card_sections import (
    Summaries,
    bias_lines,
    class_lines,
    code,
    cost_lines,
    data_lines,
    escaped,
    explanation_lines,
    listed,
    slice_lines,
)
from components.shared.records.model_folder import (
    MODEL_CARD,
    TRAINING,
    TRANSFORMER,
    kind_of,
    read_calibration,
    read_class_names,
)
from components.shared.records.sparse_model import FEATURES

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LICENSE_VARIABLE, LANGUAGE_VARIABLE = "MODEL_LICENSE", "MODEL_LANGUAGE"
"""Environment variables that name the licence and the language of the models that are trained."""

LONGEST_DESCRIPTION = 5000
"""Characters of a version's description that MLflow keeps in Postgres; SQLite takes any number."""

_SCORES = {"accuracy": ("accuracy", "accuracy"), "macro_f1": ("f1", "macro-F1")}
"""The hub's type and our name of the scores in the evaluation's summary."""


def dataset_name(data_fingerprint: str) -> str:
    """What a data set is called in model cards and runs: `reviews-` and its fingerprint's start."""
    return f"reviews-{data_fingerprint[:12]}" if data_fingerprint else "reviews"


def write_model_card(
    folder: str | Path, summaries: Summaries | None = None, model_name: str = ""
) -> None:
    """Write the card of a model folder from its other files, and from what judged the model.

    Args:
        folder: A model folder.
        summaries: Summaries of the steps that judged it; without the evaluation's scores on test,
            those on validation are given.
        model_name: Registered model; the folder's own name is nobody's.
    """
    from huggingface_hub import ModelCardData

    folder, summaries = Path(folder), summaries or Summaries()
    scores = summaries.evaluation.get("scores") or {}
    training = read_json(folder / TRAINING)
    facts, base = training.get("facts", {}), str(training.get("base_model", ""))
    dataset = dataset_name(facts.get("data_fingerprint", ""))
    head = ModelCardData(
        license=os.environ.get(LICENSE_VARIABLE) or "apache-2.0",
        language=os.environ.get(LANGUAGE_VARIABLE) or "en",
        library_name="transformers" if kind_of(folder) == TRANSFORMER else None,
        pipeline_tag="text-classification",
        base_model=hub_id(base) or None,
        datasets=[dataset],
        metrics=["accuracy", "f1"],
        model_name=model_name or "review-sentiment",
        eval_results=_results(scores, dataset) or None,
    )
    text = f"---\n{head.to_yaml()}\n---\n\n{_body(folder, training, base, summaries)}"
    (folder / MODEL_CARD).write_text(text, encoding="utf-8")


def description_of(folder: Path) -> str:
    """As much of the text of a folder's card as MLflow's databases take, cut between two lines."""
    body = (folder / MODEL_CARD).read_text(encoding="utf-8").partition("\n---\n")[2].lstrip()
    if len(body) <= LONGEST_DESCRIPTION:
        return body
    end = "\n\nThe rest stands in README.md of this version's files.\n"
    return body[: body.rindex("\n", 0, LONGEST_DESCRIPTION - len(end))] + end


def _results(scores: Mapping[str, Any], dataset: str) -> "list[EvalResult]":
    """The test scores, with their intervals, for the hub's `model-index`."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-classification",
            dataset_type=dataset,
            dataset_name="Product reviews",
            dataset_split="test",
            metric_type=kind,
            metric_name=called,
            metric_value=round(scores[name]["value"], 4),
            metric_args={"interval_95": [round(scores[name][end], 4) for end in ("low", "high")]},
        )
        for name, (kind, called) in _SCORES.items()
        if name in scores
    ]


def _body(folder: Path, training: Mapping[str, Any], base: str, summaries: Summaries) -> str:
    """What this is, what it learned from, how good it is, how to use it, what it is not for."""
    names = read_class_names(folder)
    offsets = read_calibration(folder).decision_offsets
    scores, best = summaries.evaluation.get("scores") or {}, training.get("best", {})
    network = kind_of(folder) == TRANSFORMER
    class_names = ", ".join(map(escaped, names))
    lines = [
        "# Sentiment of product reviews",
        "",
        *(_about_network if network else _about_sparse)(folder, training, base, class_names),
        "",
        "## Data",
        "",
        *data_lines(training, summaries, names),
        *(
            f"- {name.replace('_', ' ')}: {code(value)}"
            for name, value in sorted(training.get("facts", {}).items())
            if name != "base_model"
        ),
        "",
        "## Quality",
        "",
        *(_test_table(scores) if scores else _validation_table(best)),
        *class_lines(summaries.evaluation),
        *_section("Bias", bias_lines(summaries.bias)),
        *_section("Explanations", explanation_lines(summaries.explanation)),
        "",
        "## Use",
        "",
        *(_use_of_network(training) if network else ()),
        "MLflow's `python_function` flavour takes a frame with `title` and `review_body`.",
        "",
        _about_offsets(names, offsets),
        "",
        "## Limits",
        "",
        "Learned from reviews in one language and one trade. Where star ratings stood in for "
        "labels, mixed reviews are the hard ones.",
        *(f"- {escaped(warning)}" for warning in listed(summaries.evaluation.get("warnings"))),
        "",
        "## Intended use",
        "",
        "For sorting, counting and routing reviews like those that it learned from. Not for "
        "decisions about people.",
        *_section("Cost", cost_lines(training, summaries.evaluation)),
        *_section("Slices", slice_lines(summaries.evaluation)),
        "",
    ]
    return "\n".join(lines)


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _about_network(
    folder: Path, training: Mapping[str, Any], base: str, class_names: str
) -> list[str]:
    return [
        f"`{hub_id(base) or Path(base).name}` fine-tuned to tell {class_names} reviews apart. "
        "It reads title and body as one text, `title. body`, of which at most "
        f"{training['max_tokens']} tokens."
    ]


def _about_sparse(
    folder: Path, training: Mapping[str, Any], base: str, class_names: str
) -> list[str]:
    kind = read_json(folder / FEATURES)["kind"]
    return [
        f"A linear model on `{kind}` features of the words, which tells {class_names} reviews "
        "apart. It reads title and body as one text, `title. body`, whole."
    ]


def _use_of_network(training: Mapping[str, Any]) -> list[str]:
    return [
        "```python",
        "from transformers import pipeline",
        "",
        'classify = pipeline("text-classification", "PATH", truncation=True)',
        'classify("Runs small. The fabric itches. Sent it back.", top_k=None)',
        "```",
        "",
        f"`truncation=True` cuts at {training['max_tokens']} tokens, as in training; without it a "
        "long review is an error. The probabilities are calibrated as they are.",
        "",
    ]


def _test_table(scores: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {called} | {scores[name]['value']:.4f} | {scores[name]['low']:.4f} to "
        f"{scores[name]['high']:.4f} |"
        for name, (_, called) in _SCORES.items()
        if name in scores
    ]
    head = ["On test reviews that nothing was chosen by:", ""]
    return [*head, "| | value | 95 % interval |", "| --- | ---: | ---: |", *rows]


def _validation_table(best: Mapping[str, float]) -> list[str]:
    rows = [
        f"| {called} | {best[name]:.4f} |" for name, (_, called) in _SCORES.items() if name in best
    ]
    head = ["On the validation reviews, by which the weights were chosen; new ones may do worse:"]
    return [*head, "", "| | value |", "| --- | ---: |", *rows]


def _about_offsets(names: Sequence[str], offsets: tuple[float, ...]) -> str:
    """Whether the most probable class wins, as every consumer has to know."""
    if not any(offsets):
        return "The most probable class is the answer."
    added = ", ".join(
        f"{escaped(name)} {one:+.2f}" for name, one in zip(names, offsets, strict=True)
    )
    return (
        "The answer is the class with the largest log-probability plus its offset "
        f"(`decision_offsets` in `config.json`): {added}. MLflow's `python_function` and our "
        "server add them; a plain pipeline gives the most probable class."
    )
