"""What differs for sure, in sentences that page and model card show; texts are not escaped here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.evaluation.bias.facets import BALANCED, DATA, PREDICTIONS

Entry = Mapping[str, Any]

_WHERE = {DATA: "in the data", BALANCED: "as training sees it", PREDICTIONS: "in the predictions"}
_SAID = {
    "DPL": "share of {name}",
    "DPPL": "share of {name}",
    "AD": "accuracy",
    "RD": "recall of {name}",
    "DAR": "precision of {name}",
}
"""The metrics that get a sentence; others minus group, all of them."""
_MOST_NAMES = 6


def findings(entries: Iterable[Entry]) -> list[str]:
    """A sentence for each number by which a group of a facet differs for sure from all others."""
    asked: dict[tuple[str, str], dict[str, list[Entry]]] = {}
    for entry in filter(_is_known, entries):
        question = entry["facet"], _SAID[entry["metric"]].format(name=entry["class"])
        asked.setdefault(question, {}).setdefault(entry["stage"], []).append(entry)
    return [
        f"{_words(facet)}, {what}: {'; '.join(_in_words(*stage) for stage in stages.items())}."
        for (facet, what), stages in asked.items()
        if any(entry["standing"] == "differs" for of in stages.values() for entry in of)
    ]


def headline(entries: Iterable[Entry]) -> str:
    """In one sentence in how many groups something differs for sure."""
    known = list(filter(_is_known, entries))
    if not known:
        return "There are no two groups to compare."
    return (
        f"In the data {_groups(known, 'DPL', DATA)} differ for sure in the share of a class; "
        f"in the model's answers {_groups(known, 'DPPL', PREDICTIONS)} do, and "
        f"{_groups(known, 'AD', PREDICTIONS)} in accuracy. The rest may differ or not."
    )


def _is_known(entry: Entry) -> bool:
    return entry["metric"] in _SAID and (entry["metric"] == "AD") == (not entry["class"])


def _groups(entries: Sequence[Entry], metric: str, stage: str) -> str:
    """How many groups of all facets differ, of those that are known."""
    of = [e for e in entries if (e["metric"], e["stage"]) == (metric, stage)]
    known = {(e["facet"], e["group"]) for e in of if e["low"] is not None}
    differing = {(e["facet"], e["group"]) for e in of if e["standing"] == "differs"}
    return f"{len(differing) or 'none'} of {len(known)} groups"


def _in_words(stage: str, entries: Sequence[Entry]) -> str:
    """Which groups have less and which have more of what is counted, in one stage."""
    differing = [entry for entry in entries if entry["standing"] == "differs"]
    known = sum(entry["low"] is not None for entry in entries)
    if not known:
        return f"{_WHERE[stage]} too few to say"
    fewer = [entry["group"] for entry in differing if entry["value"] > 0]
    more = [entry["group"] for entry in differing if entry["value"] < 0]
    named = [f"{word} in {_listed(of)}" for word, of in (("less", fewer), ("more", more)) if of]
    counted = f"({len(differing)} of {known} groups)"
    return f"{_WHERE[stage]} {', '.join(named)} {counted}" if named else f"{_WHERE[stage]} none"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMES])
    rest = len(names) - _MOST_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown


def _words(facet: str) -> str:
    words = facet.replace("_", " ")
    return words[:1].upper() + words[1:]
