"""What a decision on retraining rests on, read from what monitoring, review and training wrote."""

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from components.retraining.decide import Decision, Situation, TriggerOptions
from components.retraining.ledger import decide_once
from components.shared.machine.files import write_json
from components.shared.machine.state import review_folder
from components.shared.records.model_folder import read_training_facts
from components.shared.records.monitoring_summary import YES, read_monitoring_summary
from components.shared.records.resolved_labels import read_resolved

logger = logging.getLogger(__name__)

LABELS_AS_OF = "labels_as_of"
"""Fact of a training: the time up to which its labels were known."""


def decide_on(
    monitoring_summary: str | Path,
    champion: str | Path,
    resolved: str,
    options: TriggerOptions,
    run: str,
    decision: str | Path,
) -> tuple[Decision, str]:
    """Decide from the files of other steps, and write the decision as JSON.

    `decide_retraining` describes the arguments.

    Returns:
        The decision, and the place of the resolved labels, '' where there are none.

    Raises:
        UserError: If a file is missing or damaged.
    """
    place = Path(resolved) if resolved else review_folder() / "resolved"
    there = place.is_file() or any(place.glob("*.parquet"))
    found = decide_once(read_situation(monitoring_summary, champion, place, there), options, run)
    labels = str(place) if there else ""
    content = {"run": run, "decided_at": datetime.now(UTC).isoformat(), "resolved": labels}
    write_json(decision, content | asdict(found) | {"options": options.to_dict()})
    logger.info("%s: %s", found.action, found.reason)
    return found, labels


def read_situation(
    monitoring_summary: str | Path, champion: str | Path, resolved: Path, there: bool
) -> Situation:
    """What is known now; `resolved` is read only if labels are there."""
    seen = read_monitoring_summary(monitoring_summary)
    facts = read_training_facts(champion).get("facts", {})
    concept = seen.concept_drift == YES
    findings = [seen.in_words.rstrip("."), seen.concept_sentence.rstrip(".") if concept else ""]
    labels = read_resolved(resolved).select(["votes", "event_timestamp"]) if there else None
    return Situation(
        drifted=YES if concept else seen.drifted,
        findings="; ".join(filter(None, findings)),
        window_until=datetime.fromisoformat(seen.until),
        labels=[
            row["event_timestamp"] for row in (labels.to_pylist() if labels else []) if row["votes"]
        ],
        trained_until=datetime.fromisoformat(as_of) if (as_of := facts.get(LABELS_AS_OF)) else None,
    )
