"""A look at a served model: whether its traffic drifted, and how right it still is."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from components.monitoring.alarm_budget import AlarmBudget
from components.monitoring.audited import accuracies, read_labels
from components.monitoring.domain_classifier import compare_texts
from components.monitoring.drift import TELLS_THE_CAUSE, causes_of, compare_columns, judged
from components.monitoring.live_accuracy import LEAST_LABELS, accuracy_on_test, false_alarm_rate
from components.monitoring.window import TESTED, ServedModel, read_expected, read_window
from components.monitoring.wording import TITLES, percent
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.records.known_words import read_known_words
from components.shared.records.labels import labels_of_file
from components.shared.records.masking import Masker
from components.shared.records.model_folder import read_class_names
from components.shared.records.monitoring_summary import (
    DRIFTED,
    NO,
    NO_DRIFT,
    TOO_LITTLE,
    UNKNOWN,
    YES,
    Accuracy,
    Finding,
    MonitoringSummary,
)
from components.shared.records.reviews import predictions_schema
from components.shared.records.text import model_text

logger = logging.getLogger(__name__)

_NAMED = 3
"""Changes in the sentence; all are among the findings."""


@dataclass(frozen=True)
class MonitoringOptions:
    """How strict a look is."""

    alarms_per_year: float = 1.0
    looks_per_year: int = 365
    min_rows: int = 500  # different texts; below, "too little data" is the verdict
    min_effect: float = 0.01  # least share of rows that must have moved for an alarm

    @property
    def budget(self) -> AlarmBudget:
        """The false alarms of a year and what they mean for a look."""
        return AlarmBudget(self.alarms_per_year, self.looks_per_year)

    def __post_init__(self) -> None:
        if self.min_rows < 1 or not 0 <= self.min_effect < 1:
            raise UserError(
                f"min_rows is {self.min_rows} and min_effect {self.min_effect:g}; give a number "
                "from 1 up, and a share from 0 to below 1"
            )


def monitor(
    log_uri: str,
    model: ServedModel,
    since: datetime,
    until: datetime,
    options: MonitoringOptions | None = None,
    *,
    resolved: str = "",
    predictions: str | Path = "",
) -> MonitoringSummary:
    """Compare a window of the payload log with what the version was made from.

    Args:
        log_uri: The payload log.
        model: The version that is monitored, usually the champion.
        since: Begin of the window.
        until: Its end, not included.
        options: How strict to be.
        resolved: Labels that people agreed on, a file or the review's folder; "" for none.
        predictions: The version's test predictions, whose texts are compared with those that the
            log kept; "" to leave the texts out.

    Returns:
        What was found; `looks_last_year` is 1, as this function keeps no history.

    Raises:
        UserError: If log, model folder or labels cannot be read or do not belong together.
    """
    options = options or MonitoringOptions()
    expected = read_expected(model)
    class_names = read_class_names(model.folder)
    window = read_window(log_uri, model, since, until)
    different = window.different
    alpha = options.budget.alpha
    findings: list[Finding] = []
    causes: list[str] = []
    missing: dict[str, str] = {}
    if enough := len(different) >= options.min_rows:
        found, missing = compare_columns(expected, different)
        family = [finding for finding, _ in found]
        texts = _compare_texts(different, model.folder, predictions)
        if isinstance(texts, Finding):
            family.append(texts)
        else:
            missing["texts"] = texts
        findings = judged(family, alpha, options.min_effect)
        causes = causes_of(found, {one.name for one in findings if one.drifted})
    drifted = any(finding.drifted for finding in findings)
    verdict = DRIFTED if drifted else NO_DRIFT if enough else TOO_LITTLE
    live, weeks = accuracies(window, read_labels(resolved, model, class_names))
    tested = expected.filter(pc.equal(expected["split"], TESTED))["correct"].drop_null()
    test = accuracy_on_test(tested.to_numpy())
    concept, concept_sentence = concept_drift(live, test)
    summary = MonitoringSummary(
        model_name=model.name,
        model_version=model.version,
        looked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        since=since.astimezone(UTC).isoformat(timespec="seconds"),
        until=until.astimezone(UTC).isoformat(timespec="seconds"),
        rows=len(window.answers),
        texts=len(different),
        verdict=verdict,
        sentence=_sentence(verdict, findings, causes, len(different), options.min_rows),
        findings=findings,
        causes=causes,
        not_compared={TITLES[name]: why for name, why in missing.items()},
        alpha=alpha,
        alarms_per_year=options.alarms_per_year,
        looks_per_year=options.looks_per_year,
        looks_last_year=1,
        min_rows=options.min_rows,
        min_effect=options.min_effect,
        live_accuracy=live,
        weeks=weeks,
        test_accuracy=test,
        concept_drift=concept,
        concept_sentence=concept_sentence,
        versions=window.versions,
        notes=window.notes,
    )
    logger.info("%s: %s %s", verdict, summary.sentence, concept_sentence)
    return summary


def concept_drift(live: Accuracy | None, test: Accuracy | None) -> tuple[str, str]:
    """Whether the live accuracy's interval left the test set's, and that in words."""
    if live is None or test is None:
        return UNKNOWN, (
            f"How right the model is on this traffic is not known: it takes {LEAST_LABELS} of its "
            "answers that people have checked, drawn at random by the review."
        )
    now = _in_percent(live)
    before = _in_percent(test)
    compared = (
        f"On this traffic {now[0]} of the answers are right (95 % interval {now[1]} to {now[2]}, "
        f"from {live.labels} checked answers); on the test reviews it was {before[0]} ({before[1]} "
        f"to {before[2]})"
    )
    if live.low <= test.high and test.low <= live.high:
        return NO, f"{compared}."
    better = "better" if live.value > test.value else "worse"
    rate = percent(false_alarm_rate(live, test))
    return YES, f"{compared}: {better}, beyond what chance does in {rate} of such looks."


def _in_percent(accuracy: Accuracy) -> list[str]:
    return [f"{100 * one:.1f} %" for one in (accuracy.value, accuracy.low, accuracy.high)]


def _compare_texts(answers: pa.Table, folder: Path, predictions: str | Path) -> Finding | str:
    """The texts that the log kept against those of the test split; or why not."""
    kept = answers["text"].drop_null().to_pylist()
    if not kept:
        return "the log keeps no texts"
    if not predictions:
        return "no texts to compare with were given"
    return compare_texts(known_texts(predictions, folder), kept)


def known_texts(predictions: str | Path, folder: Path) -> Sequence[str]:
    """The texts of the test split, masked as the log masks."""
    table = read_parquet(
        predictions, predictions_schema(labels_of_file(predictions)), ["title", "review_body"]
    )
    texts = map(model_text, table["title"].to_pylist(), table["review_body"].to_pylist())
    known = read_known_words(folder)
    if known is None:
        return list(texts)
    masker = Masker(known)
    return [masker.mask(text).text for text in texts]


def _sentence(
    verdict: str, findings: Sequence[Finding], causes: Sequence[str], texts: int, min_rows: int
) -> str:
    """The verdict for whoever reads one line only."""
    if verdict == TOO_LITTLE:
        return (
            f"Only {texts:,} different texts were asked about in this window; drift is judged from "
            f"{min_rows:,} on."
        )
    if verdict == NO_DRIFT:
        return (
            f"The {texts:,} different texts of this window are like those that the version was "
            f"made for, in each of {len(findings)} comparisons."
        )
    explained = TELLS_THE_CAUSE if causes else ()
    changes = [one.words for one in findings if one.drifted and one.name not in explained]
    changes = [*causes, *changes]
    more = f"; and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
    whole = "; ".join(changes[:_NAMED]) + more
    return f"{whole[:1].upper()}{whole[1:]}."
