"""The candidates: each file of this folder that has a `CANDIDATE` is one."""

import importlib
import pkgutil

from components.automl.candidate import Candidate


def all_candidates() -> dict[str, Candidate]:
    """The candidates by name, those that usually cost least first."""
    modules = [
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
    ]
    found = [module.CANDIDATE for module in modules if hasattr(module, "CANDIDATE")]
    return {one.name: one for one in sorted(found, key=lambda one: (one.cost, one.name))}
