"""What a step used of its machine, and what that costs by a table that anyone can edit."""

import os
import resource
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from components.shared.machine.errors import UserError

PRICES_VARIABLE = "PRICES"
"""Environment variable that names another table than the project's `prices.yaml`."""

_HOUR = 3600
_GIB = 2**30


@dataclass(frozen=True)
class Usage:
    """What one process and those that it waited for used."""

    wall_seconds: float
    cpu_seconds: float  # user and system time
    gpu_seconds: float  # GPUs that it had open, times its wall time
    peak_bytes: int  # largest resident memory of a single process

    def __add__(self, other: "Usage") -> "Usage":
        """Both one after the other."""
        return Usage(
            self.wall_seconds + other.wall_seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
            max(self.peak_bytes, other.peak_bytes),
        )


@dataclass(frozen=True)
class Prices:
    """The table of prices, each in `currency` for an hour."""

    currency: str
    cpu_hour: float
    gib_hour: float
    gpu_hour: float
    person_hour: float

    def of(self, usage: Usage) -> float:
        """Price of what was used: cores by their seconds, memory as if its peak were held."""
        memory = usage.peak_bytes / _GIB * usage.wall_seconds * self.gib_hour
        computing = usage.cpu_seconds * self.cpu_hour + usage.gpu_seconds * self.gpu_hour
        return (memory + computing) / _HOUR

    def of_review(self, votes: int, seconds_per_vote: float) -> float:
        """Price of the time that people spend on votes."""
        return votes * seconds_per_vote * self.person_hour / _HOUR


def read_prices() -> Prices:
    """The table that `$PRICES` names, else the project's own.

    Raises:
        UserError: If it is missing, is not YAML, lacks a price, or one is not a number from 0 on.
    """
    import yaml

    table = Path(os.environ.get(PRICES_VARIABLE) or Path(__file__).with_name("prices.yaml"))
    try:
        given = yaml.safe_load(table.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the table of prices {table} cannot be read ({reason})") from None
    names = [field.name for field in fields(Prices)]
    if not isinstance(given, dict) or set(given) != set(names):
        raise UserError(f"the table of prices {table} must hold {', '.join(names)}, nothing else")
    for name in names[1:]:
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise UserError(f"{name} in {table} is {value!r}; give a number from 0 on")
    return Prices(str(given["currency"]), *(float(given[name]) for name in names[1:]))


def usage_of_this_process(wall_seconds: float) -> Usage:
    """What this process has used so far, with the children that it waited for."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    in_bytes = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    return Usage(
        wall_seconds=wall_seconds,
        cpu_seconds=sum(one.ru_utime + one.ru_stime for one in (own, children)),
        gpu_seconds=_open_gpus() * wall_seconds,
        peak_bytes=max(own.ru_maxrss, children.ru_maxrss) * in_bytes,
    )


def _open_gpus() -> int:
    """GPUs that this process computes on: asked of torch only where it has been loaded."""
    torch = sys.modules.get("torch")
    return torch.cuda.device_count() if torch and torch.cuda.is_initialized() else 0
