"""Pipelines that are traced when they are asked for, not when their module is imported.

KFP's own decorator runs the function at once, so that images and the scale of training would be
those of the environment at import.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Pipeline:
    """A function that wires components, whose parameters are the pipeline's; it calls `parts`."""

    function: Callable[..., Any]
    name: str
    description: str
    parts: tuple["Pipeline", ...]
    _traced: Any = field(default=None, init=False)

    def trace(self) -> Any:
        """Run the function and return KFP's pipeline, with images and scale as they are now."""
        from kfp import dsl

        for part in self.parts:
            part.trace()
        self._traced = dsl.pipeline(name=self.name, description=self.description)(self.function)
        return self._traced

    def __call__(self, **inputs: Any) -> Any:
        """Use the pipeline as a task of the one that names it among its parts."""
        return self._traced(**inputs)


def pipeline(
    *, name: str, description: str, parts: tuple[Pipeline, ...] = ()
) -> Callable[[Callable[..., Any]], Pipeline]:
    """Make a pipeline of a function."""
    return lambda function: Pipeline(function, name, description, parts)
