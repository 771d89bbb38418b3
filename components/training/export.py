"""Writing the model folder, whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.machine.base_model import load_tokenizer
from components.shared.machine.files import replaced_when_whole, write_json
from components.shared.records.decision import Calibration
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.model_folder import (
    CALIBRATION,
    MODEL_CARD,
    TRAINING,
    check_model_folder,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def write_model_folder(
    folder: str | Path,
    classifier: "PreTrainedModel",
    base_model: str,
    calibration: Calibration,
    training: dict[str, Any],
) -> None:
    """Write weights, configuration, tokenizer, calibration, training facts and model card.

    Args:
        folder: Replaced in one rename when everything is written.
        classifier: Plain fp32 sequence classifier.
        base_model: Whose tokenizer goes along.
        calibration: Fitted on validation.
        training: Content of `training.json`; keys as `read_training_facts` says.
    """
    from transformers.utils import logging as transformers_logging

    with replaced_when_whole(folder) as draft:
        draft.mkdir()
        transformers_logging.disable_progress_bar()
        classifier.save_pretrained(draft)
        load_tokenizer(base_model).save_pretrained(draft)
        write_json(draft / CALIBRATION, calibration.to_dict())
        write_json(draft / TRAINING, training)
        (draft / MODEL_CARD).write_text(_model_card(base_model, calibration, training), "utf-8")
        for file in draft.iterdir():
            file.chmod(0o644)  # weights come out readable by their owner alone
        check_model_folder(draft)


def _model_card(base_model: str, calibration: Calibration, training: dict[str, Any]) -> str:
    """The model card: what this is, what it learned from, how good, how to use it."""
    best = training["best"]
    options = training["options"]
    facts = training["facts"]
    prior = ", ".join(
        f"{name} {share:.1%}"
        for name, share in zip(CLASS_NAMES, training["class_prior"], strict=True)
    )
    offsets = ", ".join(
        f"{name} {offset:+.2f}"
        for name, offset in zip(CLASS_NAMES, calibration.decision_offsets, strict=True)
    )
    lines = [
        "---",
        "pipeline_tag: text-classification",
        "library_name: transformers",
        "---",
        "",
        "# Sentiment of product reviews",
        "",
        f"`{base_model}` fine-tuned to tell negative, neutral and positive product reviews "
        "apart. It reads title and body as one text, made by "
        "`components.shared.records.text.model_text`, "
        f"of which at most {training['max_tokens']} tokens.",
        "",
        "## Training",
        "",
        f"- {training['rows']['train']} reviews ({prior}), watched on "
        f"{training['rows']['validation']} others; {best['step']} steps of "
        f"{options['batch_size']} reviews kept.",
        *(f"- {name.replace('_', ' ')}: `{value}`" for name, value in sorted(facts.items())),
        "",
        "## Quality on the validation reviews",
        "",
        "| macro-F1 | accuracy | loss (nats) |",
        "| ---: | ---: | ---: |",
        f"| {best['macro_f1']:.4f} | {best['accuracy']:.4f} | {best['validation_loss']:.4f} |",
        "",
        "The epoch kept was chosen on these reviews, so expect a little less on new ones; "
        "the evaluation report has the test scores.",
        "",
        "## Use",
        "",
        "`AutoModelForSequenceClassification.from_pretrained(folder)` loads it. Divide the logits "
        f"by {calibration.temperature:.4f} for calibrated probabilities. Decide by the largest "
        f"log-probability plus these offsets: {offsets}.",
        "",
        "## Limits",
        "",
        "Learned from reviews in one language and one trade; star ratings stand in for sentiment "
        "(1 and 2 negative, 3 neutral, 4 and 5 positive), so mixed reviews are the hard ones. "
        "Not for decisions about people.",
        "",
    ]
    return "\n".join(lines)
