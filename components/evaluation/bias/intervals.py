"""Intervals that hold for all groups and metrics at once, and what chance alone would show.

Resamples are multinomial draws of the kinds of rows. An interval is the value plus and minus as
many standard deviations as the farthest of all metrics strays in 95 % of the resamples (max-t;
Westfall & Young 1993). Facets are drawn apart from each other, which makes the intervals wider,
never narrower, than one draw of the rows for all of them (Sidak 1967).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.evaluation.bias import metrics
from components.evaluation.bias.kinds import Kinds, Measured
from components.evaluation.bias.metrics import Array
from components.shared.statistics.scores import CONFIDENCE

FEWEST_ROWS = 30
"""Rows of a group below which nothing is said of it."""
FEWEST_CASES = 10
"""Rows of a kind that a metric rests on, below which nothing is said of it."""
RATIOS = ("DCA", "DCR", "TE")
"""Metrics without an upper end: below `FEWEST_ROWS` cases they stray so far that they would widen
the intervals of all others."""

_MOST_UNDEFINED = 0.01
"""Share of the resamples that may leave a metric undefined."""
_BLOCK = 250
"""Resamples computed at once: their counts stay in the processor's cache."""

Scale = tuple[Callable, Callable]
_AS_IS: Scale = (lambda x: x, lambda x: x)
_ROOT: Scale = (np.sqrt, lambda x: np.square(np.maximum(x, 0)))
_SCALES: dict[str, Scale] = {"DI": (np.log, np.exp), "KL": _ROOT, "JS": _ROOT}
"""Where a metric is not near to normally distributed, the scale on which it is nearer."""

NEVER_ZERO = ("KL", "JS", "Lp", "TVD", "KS")


@dataclass(frozen=True)
class Sampled:
    """The metrics of one facet and how they stray, by name.

    Attributes:
        value: Value on the rows at hand, [groups] or [groups, classes]; NaN where undefined.
        spread: Standard deviation on the metric's scale; NaN where it is too few to say.
        farthest: How far the farthest metric of each resample strays [resamples].
        chance: Mean of the divergences if groups were drawn at random, [groups].
        chance_spread: And their standard deviation on the metric's scale.
        farthest_by_chance: As `farthest`, for the divergences upwards.
    """

    value: Measured
    spread: Measured
    farthest: NDArray[np.float64]
    chance: Measured
    chance_spread: Measured
    farthest_by_chance: NDArray[np.float64]


def sample(kinds: Kinds, resamples: int, generator: np.random.Generator) -> Sampled:
    """The metrics of one facet's rows, resampled."""
    value = kinds.measured(kinds.rows * kinds.weight.astype(float))
    known = _enough(kinds, value)
    spread, farthest = {}, np.zeros(resamples)
    for name, drawn in _resampled(kinds, resamples, generator).items():
        steady = np.isfinite(drawn).mean(axis=-1) >= 1 - _MOST_UNDEFINED
        spread[name], strays = _strays(name, drawn, known[name] & steady)
        np.maximum(farthest, np.abs(strays).max(axis=0, initial=0), out=farthest)
    chance, chance_spread, by_chance = {}, {}, np.zeros(resamples)
    for name, drawn in _groups_at_random(kinds, resamples, generator).items():
        chance_spread[name], strays = _strays(name, drawn, known[name])
        np.maximum(by_chance, strays.max(axis=0, initial=0), out=by_chance)
        chance[name] = np.full(known[name].shape, np.nan)
        chance[name][known[name]] = np.nanmean(drawn[known[name]], axis=-1)
    return Sampled(value, spread, farthest, chance, chance_spread, by_chance)


def critical(farthest: Sequence[NDArray[np.float64]]) -> float:
    """How many standard deviations hold for the metrics of several facets at once."""
    return float(np.quantile(np.max(farthest, axis=0), CONFIDENCE)) if farthest else 0.0


def bounds(name: str, value: float, spread: float, deviations: float) -> tuple[float, float]:
    """Low and high: a value plus and minus so many standard deviations, on the metric's scale."""
    there, back = _SCALES.get(name, _AS_IS)
    middle, width = there(value), deviations * spread
    low, high = float(back(middle - width)), float(back(middle + width))
    return (max(low, 0.0) if name in NEVER_ZERO else low), high


def _enough(kinds: Kinds, value: Measured) -> dict[str, NDArray[np.bool_]]:
    """Where a metric is defined and rests on enough rows."""
    rows = kinds.totals(np.where(kinds.weight > 0, kinds.rows, 0.0), (kinds.group, kinds.groups))
    whole = np.minimum(rows, rows.sum() - rows) >= FEWEST_ROWS
    fewest = kinds.fewest()
    return {
        name: np.isfinite(values)
        & whole.reshape(-1, *[1] * (values.ndim - 1))
        & (fewest.get(name, np.inf) >= (FEWEST_ROWS if name in RATIOS else FEWEST_CASES))
        for name, values in value.items()
    }


def _strays(name: str, drawn: Array, known: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Standard deviation where known, NaN elsewhere; and the draws in such deviations [known, ...].

    What is undefined in a draw does not stray; nor does what is the same in all of them.
    """
    with np.errstate(divide="ignore"):
        scaled = _SCALES.get(name, _AS_IS)[0](drawn[known])
    scaled = np.where(np.isfinite(scaled), scaled, np.nan)
    deviation = np.nanstd(scaled, axis=-1)
    deviation[deviation == 0] = np.nan
    spread = np.full(known.shape, np.nan)
    spread[known] = deviation
    apart = (scaled - np.nanmean(scaled, axis=-1, keepdims=True)) / deviation[:, None]
    return spread, np.nan_to_num(apart)


def _resampled(kinds: Kinds, resamples: int, generator: np.random.Generator) -> Measured:
    """Every metric of resamples of the rows: its shape, and one more axis of resamples."""
    total = int(kinds.rows.sum())
    blocks: dict[str, list[Array]] = {}
    for start in range(0, resamples, _BLOCK):
        size = min(_BLOCK, resamples - start)
        drawn = generator.multinomial(total, kinds.rows / total, size=size)
        weighted = np.ascontiguousarray(drawn.T, dtype=float) * kinds.weight[:, None]
        for name, values in kinds.measured(weighted).items():
            blocks.setdefault(name, []).append(values)
    return {name: np.concatenate(values, axis=-1) for name, values in blocks.items()}


def _groups_at_random(kinds: Kinds, resamples: int, generator: np.random.Generator) -> Measured:
    """The divergences if each group were as many rows drawn at random, [groups, resamples]."""
    codes = np.stack([kinds.outcome, kinds.weight], axis=1)
    pairs, place = np.unique(codes, axis=0, return_inverse=True)
    there = np.bincount(place.ravel(), weights=kinds.rows).astype(np.int64)
    sizes = kinds.totals(kinds.rows.astype(float), (kinds.group, kinds.groups)).astype(np.int64)
    drawn = np.stack(
        [generator.multivariate_hypergeometric(there, size, resamples).T for size in sizes]
    )
    member = (pairs[:, :1] == np.arange(kinds.classes)) * pairs[:, 1:]  # [pairs, classes]
    inside = np.einsum("gpr,pc->gcr", drawn.astype(float), member.astype(float))
    everything = (there @ member).astype(float)[None, :, None]
    return metrics.divergences(inside, everything - inside)
