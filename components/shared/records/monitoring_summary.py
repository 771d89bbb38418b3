"""What a look at the served model found: written by monitoring, read by whoever acts on it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json

DRIFTED, NO_DRIFT, TOO_LITTLE = "drifted", "no drift", "too little data"
"""The verdicts of a look."""

YES, NO, UNKNOWN = "yes", "no", "unknown"

YES_OR_NO = {DRIFTED: YES, NO_DRIFT: NO, TOO_LITTLE: UNKNOWN}
"""The verdict as the answer to "did it drift?"."""


@dataclass(frozen=True)
class Finding:
    """One column of the reference, compared with the answers of a window."""

    name: str  # column, or `texts`: everything that the words tell
    title: str
    words: str  # the strongest change, as a sentence
    drifted: bool  # improbable by chance, and large enough to matter
    p: float
    p_holm: float  # corrected for the number of columns
    effect: float  # total variation; of `texts`, 2 AUC - 1
    chance: float  # the effect that chance alone would have
    rows: int  # answers that have a value
    cells: list[dict[str, Any]]  # name, share in the reference, share now
    new_words: list[str] = field(default_factory=list)  # of `texts`, the words that are new


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers with its 95 % interval."""

    value: float
    low: float
    high: float
    answers: int  # that the estimate is for
    labels: int  # that it rests on
    week: str = ""  # ISO week, such as 2026-W47; empty for the whole window


@dataclass(frozen=True)
class MonitoringSummary:
    """A look: what was looked at, how strictly, and what was found."""

    model_name: str
    model_version: str
    looked_at: str  # moment, ISO
    since: str
    until: str
    rows: int  # answers of the version in the window
    texts: int  # different ones: repeated texts are compared once
    verdict: str  # DRIFTED, NO_DRIFT or TOO_LITTLE
    sentence: str
    findings: list[Finding]  # the largest effect first
    causes: list[str]  # what findings together point at
    not_compared: dict[str, str]  # column -> why
    alpha: float
    alarms_per_year: float
    looks_per_year: int
    looks_last_year: int  # this one included
    min_rows: int
    min_effect: float
    live_accuracy: Accuracy | None  # of the whole window
    weeks: list[Accuracy]
    test_accuracy: Accuracy | None
    concept_drift: str  # YES, NO or UNKNOWN
    concept_sentence: str
    versions: dict[str, int]  # answers in the window by version, other models' by name and version
    notes: list[str]  # files that were skipped, rows that were left out

    @property
    def drifted(self) -> str:
        """YES, NO or UNKNOWN."""
        return YES_OR_NO[self.verdict]

    @property
    def found(self) -> list[Finding]:
        """The findings that make the verdict."""
        return [finding for finding in self.findings if finding.drifted]

    @property
    def in_words(self) -> str:
        """What drifted, in words; empty where nothing did."""
        return "; ".join([*self.causes, *(finding.words for finding in self.found)])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def read_monitoring_summary(path: str | Path) -> MonitoringSummary:
    """Read what monitoring wrote; `UserError` where it is something else."""
    content = read_json(path)
    try:
        accuracies = {
            name: Accuracy(**content[name]) if content[name] else None
            for name in ("live_accuracy", "test_accuracy")
        }
        lists = {
            "findings": [Finding(**one) for one in content["findings"]],
            "weeks": [Accuracy(**one) for one in content["weeks"]],
        }
        return MonitoringSummary(**content | accuracies | lists)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not the summary of a look ({error}); look again") from None
