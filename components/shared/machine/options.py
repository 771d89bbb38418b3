"""Options as dataclasses: name, default, bounds and help of each stand once, at its field.

A command line, a Katib trial and a pipeline's `dict` parameter all fill the same class:

    @dataclass(frozen=True)
    class RolloutOptions(Options, called="rollout option"):
        alpha: float = option(0.05, "tolerated chance of a wrong verdict", 1e-6, 0.5)

    RolloutOptions.from_dict({"alpha": "0.01"})
"""

from collections.abc import Mapping
from dataclasses import asdict, field, fields
from typing import Any, ClassVar, Self, get_args, get_origin

from components.shared.machine.errors import UserError


def option(
    default: Any,
    about: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of an `Options` class, with its help text on command lines.

    Its value lies from `low` to `high` where these are given, and is one of `choices` if there are.
    """
    metadata = {"about": about, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


class Options:
    """Base of a frozen dataclass whose fields are made by `option`.

    Values out of bounds raise `UserError` however the object is made.
    """

    called: ClassVar[str] = "option"

    def __init_subclass__(cls, called: str = "option", **others: Any) -> None:
        super().__init_subclass__(**others)
        cls.called = called

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]
            _check(f"{self.called} {one.name}", getattr(self, one.name), one.metadata)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build options from names and values; what is not named keeps its default.

        Args:
            values: Values as such or as text (`"3e-5"`, `"true"`, `"10,50,100"`), as command
                lines, Katib and pipeline parameters give them.

        Raises:
            UserError: If a name does not exist, or a value has the wrong type or is out of bounds.
        """
        kinds = {one.name: one.type for one in fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(values) - set(kinds))
        if unknown:
            known = f"the {cls.called}s are {', '.join(kinds)}"
            raise UserError(f"there is no {cls.called} {', '.join(map(str, unknown))}; {known}")
        return cls(**{n: _convert(f"{cls.called} {n}", v, kinds[n]) for n, v in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """All options by name, JSON-ready; `from_dict` takes it back."""
        return asdict(self)  # type: ignore[call-overload]


def _convert(called: str, value: Any, kind: Any) -> Any:
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if isinstance(value, bool):
            raise ValueError
        if kind is int:
            number = float(value)
            if number != int(number):
                raise ValueError
            return int(number)
        if kind is float:
            return float(value)
        if get_origin(kind) is tuple:
            parts = value.split(",") if isinstance(value, str) and value else value or ()
            parts = [parts] if isinstance(parts, int | float) else parts
            return tuple(_convert(called, one, get_args(kind)[0]) for one in parts)
    except (TypeError, ValueError, KeyError, OverflowError):
        kinds = {bool: "true or false", int: "a whole number", float: "a number"}
        wanted = kinds.get(kind, "a list such as 10,50")
        raise UserError(f"{called} must be {wanted}, not {value!r}") from None
    # JSON that comes through a pipeline has no whole numbers.
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _check(called: str, value: Any, limits: Mapping[str, Any]) -> None:
    if limits["choices"] and value not in limits["choices"]:
        choices = ", ".join(limits["choices"])
        raise UserError(f"{called} must be one of {choices}, not {value!r}")
    low, high = limits["low"], limits["high"]
    for one in value if isinstance(value, tuple) else (value,):
        if low is not None and not low <= one <= high:  # NaN lies nowhere.
            raise UserError(f"{called} must lie from {low:g} to {high:g}, not {one!r}")
