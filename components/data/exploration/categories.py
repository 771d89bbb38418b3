"""Shares of the classes in each category, with intervals that hold for all of them together."""

from collections.abc import Mapping
from typing import Any

from components.shared.statistics.scores import CONFIDENCE

MOST_CATEGORIES = 20
LEAST_REVIEWS = 20
"""Fewer reviews are too few to say."""


def category_shares(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The most frequent categories, and the others pooled.

    Wilson intervals, widened (Bonferroni) so that all shown ones hold together in 95 of 100 data
    sets: of many intervals at 95 % each, some lie beside the whole's share by chance alone.

    Args:
        profile: What `Profile.to_dict` gives.

    Returns:
        `rows`, each with `name` (None: without a category), `reviews`, `pooled` (how many
        categories the row stands for, 0 if for its own) and by class `value`, `low`, `high` and
        `apart`: whether the share of all reviews lies outside the interval; None where reviews are
        too few. `overall` has the shares of all reviews, `in_all` the number of categories.
    """
    from scipy.stats import binomtest

    totals: dict[str, int] = profile["sentiments"]
    labelled = sum(totals.values())
    listed = [
        (entry["category"], entry["classes"], 0)
        for entry in profile["categories"][:MOST_CATEGORIES]
        if entry["count"] >= LEAST_REVIEWS
    ]
    others = {
        name: total - sum(classes[name] for _, classes, _ in listed)
        for name, total in totals.items()
    }
    named = sum(name is not None for name, *_ in listed)
    pooled = profile["categories_in_all"] - named
    if pooled:
        listed.append((None, others, pooled))
    intervals = len(totals) * sum(sum(each.values()) >= LEAST_REVIEWS for _, each, _ in listed)
    level = 1 - (1 - CONFIDENCE) / max(1, intervals)

    def share(count: int, reviews: int, overall: float) -> dict[str, Any]:
        ends = binomtest(count, reviews).proportion_ci(level, method="wilson")
        low, high = float(ends.low), float(ends.high)
        value = count / reviews
        return {"value": value, "low": low, "high": high, "apart": not low <= overall <= high}

    overall = {name: total / labelled for name, total in totals.items()} if labelled else {}
    rows = []
    for name, classes, stands_for in listed:
        reviews = sum(classes.values())
        enough = reviews >= LEAST_REVIEWS
        rows.append(
            {
                "name": name,
                "reviews": reviews,
                "pooled": stands_for,
                "shares": {
                    one: share(count, reviews, overall[one]) if enough else None
                    for one, count in classes.items()
                },
            }
        )
    return {"rows": rows, "overall": overall, "in_all": profile["categories_in_all"]}
