"""The champion and the new model on the same reviews: is the new one worse?

The rule: the verdict rests on the difference of macro-F1, new minus champion. It is **worse** where
the difference is below minus the margin; **better** where the whole 95 % interval of the difference
lies above zero; **not worse** otherwise. A small loss inside the margin does not stop a model that
was trained on newer data, and noise alone does not make one better.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.held_out import HeldOut
from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file
from components.shared.records import model_folder as folders
from components.shared.records.decision import decide
from components.shared.records.model_logits import logits_of
from components.shared.statistics.paired import mcnemar_p_value, paired_differences
from components.shared.statistics.scores import Estimate, confusion_matrix, scores_of

logger = logging.getLogger(__name__)

BETTER = "better"
NOT_WORSE = "not worse"
WORSE = "worse"
NO_CHAMPION = "no champion"


@dataclass(frozen=True)
class Champion:
    """A champion's folder and how it differs from the new model."""

    folder: Path
    facts: dict[str, Any]  # its `training.json`
    reads_alike: bool  # whether its tokenizer and token limit are the new model's
    # Whether it was trained on other data or other splits than the new model, so that rows of
    # today's test split may have been in its training split.
    may_have_seen_test: bool


def find_champion(folder: Path | None, model_folder: Path) -> Champion | None:
    """The champion in a folder, or None if it is missing, empty or has the note `NO_CHAMPION`.

    Args:
        folder: The champion's model folder, if any.
        model_folder: The new model's folder.

    Raises:
        UserError: If the folder holds something other than a whole model folder.
    """
    if folder is None or not folder.is_dir() or not any(folder.iterdir()):
        return None
    if (folder / folders.NO_CHAMPION).is_file():
        return None
    folders.check_model_folder(folder)
    own, new = map(folders.read_training_facts, (folder, model_folder))
    return Champion(
        folder=folder,
        facts=own,
        reads_alike=_reads(folder, own) == _reads(model_folder, new),
        may_have_seen_test=not _share(own, new, "test_split") and not _share(own, new, "splits"),
    )


def _share(own: dict[str, Any], new: dict[str, Any], fact: str) -> bool:
    """Whether both trainings state the same; one of a former release may not state it at all."""
    return bool(own.get(fact)) and own[fact] == new.get(fact)


def _reads(folder: Path, facts: dict[str, Any]) -> tuple[str, Any]:
    """What decides what a model reads of a text: its tokenizer, if it has one, and its limit."""
    tokenizer = folder / folders.TOKENIZER
    return sha256_of_file(tokenizer) if tokenizer.is_file() else "", facts.get("max_tokens")


def compare_with(
    champion: Champion | None,
    test: HeldOut,
    decided: NDArray[np.int64],
    margin: float,
    progress: bool,
) -> dict[str, Any]:
    """Compare with the champion on the same rows, JSON-ready; the verdict alone without one."""
    if champion is None:
        return {"verdict": NO_CHAMPION, "margin": margin}
    logger.info("asking the champion about the same reviews")
    if (names := folders.read_class_names(champion.folder)) != test.labels.names:
        raise UserError(
            f"the champion answers {', '.join(names)}, and this model "
            f"{', '.join(test.labels.names)}: they cannot be compared; register models of other "
            "labels under another model name"
        )
    tokens = test.input_ids if champion.reads_alike else None
    logits = logits_of(champion.folder, test.reviews, tokens, progress=progress)
    of_champion = decide(logits, folders.read_calibration(champion.folder))
    scores = scores_of(confusion_matrix(test.classes, of_champion, len(names)))
    return {
        **compare(test.classes, decided, of_champion, len(names), margin),
        "champion_accuracy": float(scores.accuracy),
        "champion_macro_f1": float(scores.macro_f1),
        "champion_f1": scores.f1.tolist(),
        "may_have_seen_test": champion.may_have_seen_test,
        "reads_alike": champion.reads_alike,
    }


def compare(
    truth: NDArray[np.int64],
    new: NDArray[np.int64],
    champion: NDArray[np.int64],
    classes: int,
    margin: float,
) -> dict[str, Any]:
    """Compare two models' decisions on the same rows, with paired bootstrap intervals.

    Class indices below `classes` are [n], of at least one row; the margin is the tolerated loss of
    macro-F1.

    Returns:
        JSON-ready: the verdict, the differences (new minus champion) with their intervals, the rows
        that only one of the models decides rightly, McNemar's p-value for equal accuracy, and
        whether the interval of the macro-F1 difference excludes 0.
    """
    macro_f1, accuracy = paired_differences(truth, new, champion, classes)
    only_new = int(((new == truth) & (champion != truth)).sum())
    only_champion = int(((new != truth) & (champion == truth)).sum())
    return {
        "verdict": verdict_of(macro_f1, margin),
        "margin": margin,
        "macro_f1_difference": macro_f1.to_dict(),
        "accuracy_difference": accuracy.to_dict(),
        "only_new_right": only_new,
        "only_champion_right": only_champion,
        "mcnemar_p_value": mcnemar_p_value(only_new, only_champion),
        "significant": macro_f1.low > 0 or macro_f1.high < 0,
    }


def verdict_of(difference: Estimate, margin: float) -> str:
    """`better`, `not worse` or `worse` by the rule of this module."""
    if difference.value < -margin:
        return WORSE
    return BETTER if difference.low > 0 else NOT_WORSE
