"""Options that a pipeline gives by name: dictionaries into the dataclasses that hold them."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from components.deployment.kserve.inference_service import Autoscaling, ServiceSettings
from components.shared.machine.errors import UserError


def service_settings(given: Mapping[str, Any]) -> ServiceSettings:
    """Size and scaling of a service, some of it given.

    Args:
        given: Fields of `ServiceSettings`; `autoscaling` likewise by name.

    Raises:
        UserError: If a name is not known or a number is none.
    """
    size = dict(given)
    if isinstance(size.get("autoscaling"), Mapping):
        size["autoscaling"] = filled(Autoscaling, size["autoscaling"], "autoscaling setting")
    if "server_arguments" in size:
        size["server_arguments"] = tuple(size["server_arguments"])
    settings: ServiceSettings = filled(ServiceSettings, size, "service setting")
    return settings


def filled(kind: type, given: Mapping[str, Any], called: str) -> Any:
    """An options object with some of its fields given.

    Args:
        kind: Its dataclass.
        given: Values by the names of its fields.
        called: What one of them is called in a message.

    Raises:
        UserError: If a name is not known, one without a default is missing, or a number is none.
    """
    known = {field.name: field for field in fields(kind)}
    for name in given:
        if name not in known:
            raise UserError(f"there is no {called} {name!r}; there are {', '.join(known)}")
    for name, field in known.items():
        if name not in given and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{called} {name!r} is missing; give it")
    return kind(
        **{name: _number(f"{called} {name}", known[name].type, of) for name, of in given.items()}
    )


def _number(called: str, kind: Any, value: Any) -> Any:
    """A value as its field has it; a pipeline's numbers come as floats, also the whole ones."""
    if kind not in (int, float):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{called} is {value!r}, which is no number")
    if kind is float:
        return float(value)
    if not float(value).is_integer():
        raise UserError(f"{called} is {value}, which is no whole number")
    return int(value)
