"""The gate on bias: one metric, one facet, and the most that a group may differ."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.evaluation.bias.definitions import DEFINITIONS
from components.evaluation.bias.facets import DATA, PREDICTIONS, Facet, parse_facets
from components.shared.machine.errors import UserError
from components.shared.records.labels import LabelSet

_FORM = re.compile(r"(?P<metric>\w+)(:(?P<class_name>[\w-]+))?:(?P<facet>\w+)\s*<=\s*(?P<most>\S+)")
_EXAMPLE = "DPPL:positive:product_category<=0.1"


@dataclass(frozen=True)
class Limit:
    """How far a metric of a facet's groups, of a class or of all at once, may be from 0.

    DI is a ratio: it may lie between 1 - `most` and 1 / (1 - `most`).
    """

    metric: str
    class_name: str
    facet: str
    most: float

    @property
    def stage(self) -> str:
        """Where the metric is judged: what concerns labels in the data, the rest in predictions."""
        return DATA if self.metric in ("DPL", "CDDL") else PREDICTIONS

    def is_broken(self, low: float, high: float) -> bool:
        """Whether the whole interval lies beyond the limit."""
        if self.metric == "DI":
            return high < 1 - self.most or low > 1 / (1 - self.most)
        return low > self.most or high < -self.most


def parse_gate(text: str, facets: Sequence[Facet], classes: Sequence[str]) -> Limit | None:
    """The limit that `METRIC:CLASS:FACET<=MOST` names; None where nothing is asked.

    CLASS is left out of a metric that has none: `TVD:age<=0.1`, `AD:department<=0.05`.

    Raises:
        UserError: If it is not of that form, or names what there is not.
    """
    if not text.strip():
        return None
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise _senseless(text, f"write METRIC:CLASS:FACET<=NUMBER, as in {_EXAMPLE}")
    metric, facet, class_name = match["metric"], match["facet"], match["class_name"] or ""
    if metric not in DEFINITIONS:
        raise _senseless(text, f"{metric} is no metric; name one of {', '.join(DEFINITIONS)}")
    if facet not in (names := [one.name for one in facets]):
        raise _senseless(text, f"{facet} is not measured; name one of {', '.join(names)}")
    if class_name and not DEFINITIONS[metric].by_class:
        raise _senseless(text, f"{metric} has no class; write {metric}:{facet}<={match['most']}")
    if class_name not in classes and (
        class_name or (DEFINITIONS[metric].by_class and metric != "AD")
    ):
        called = f"{class_name} is no class" if class_name else f"{metric} is of one class"
        raise _senseless(text, f"{called}; name one of {', '.join(classes)}")
    try:
        most = float(match["most"])
    except ValueError:
        most = math.nan
    if not 0 < most < (1 if metric == "DI" else math.inf):
        upper = " and below 1" if metric == "DI" else ""
        raise _senseless(text, f"{match['most']} is no limit; give a number above 0{upper}")
    return Limit(metric, class_name, facet, most)


def check_before(parameters: Mapping[str, Any]) -> None:
    """Refuse facets or a limit that the bias step would refuse, before a model is trained.

    Args:
        parameters: Those of a run, defaults included; one that measures no bias has no `facets`.

    Raises:
        UserError: If one of them makes no sense.
    """
    if "facets" not in parameters:
        return
    facets = parse_facets(str(parameters["facets"]))
    if parameters["labels"]:  # empty where a step finds them in the data
        classes = LabelSet.parse(str(parameters["labels"])).names
        parse_gate(str(parameters["bias_gate"]), facets, classes)


def judged(limit: Limit | None, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether the measures of the summary keep the limit, and which groups break it.

    A group breaks it if its whole interval lies beyond; one that is too small to say, or undefined,
    does not.

    Returns:
        `asked`, `within`, `broken_by` (names of groups), `unknown` (how many could not be judged),
        `reason`.
    """
    if limit is None:
        none = {"asked": False, "within": True, "broken_by": [], "unknown": 0}
        return {**none, "reason": "No limit was asked for."}
    asked = [
        entry
        for entry in entries
        if (entry["metric"], entry["class"]) == (limit.metric, limit.class_name)
        and (entry["facet"], entry["stage"]) == (limit.facet, limit.stage)
    ]
    known = [entry for entry in asked if entry["low"] is not None]
    broken = [e["group"] for e in known if limit.is_broken(e["low"], e["high"])]
    of = f"{limit.metric} of {limit.class_name or 'all classes'}".strip()
    measured = f"{of} by {limit.facet.replace('_', ' ')}"
    if broken:
        reason = f"{measured} is beyond {limit.most:g} for sure in {', '.join(broken)}."
    else:
        reason = f"In no group is {measured} beyond {limit.most:g} for sure."
    if unknown := len(asked) - len(known):
        reason += f" {unknown} of {len(asked)} groups are too small to say."
    return {
        "asked": True,
        "within": not broken,
        "broken_by": broken,
        "unknown": unknown,
        "reason": reason,
    }


def _senseless(text: str, why: str) -> UserError:
    return UserError(f"bias_gate {text.strip()!r} makes no sense: {why}")
