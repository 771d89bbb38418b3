"""The inference engines that a model folder brings along, and how they compare with torch.

Beside the weights in `model.safetensors`, which are the reference, the folder may hold the same
network for OpenVINO. `engines.json` says which of them may serve: those whose answers agree with
the reference on the validation split.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.shared.machine.files import read_json, write_json
from components.shared.records.sparse_model import SPARSE

ENGINES = "engines.json"

TORCH = "torch"
"""The reference: fp32, or the GPU's own precision where there is one."""

EXACT: tuple[str, ...] = (TORCH, SPARSE)
"""Engines that compute in the server what they compute in evaluation."""

MIN_LABELS_EQUAL = 0.985
"""Least share of reviews to which an engine must give the label that the reference gives."""

MAX_MACRO_F1_LOSS = 0.005
"""Most macro-F1 that an engine may lose against the reference."""

MAX_PROBABILITY_DIFFERENCE: dict[str, float] = {"f32": 0.002, "bf16": 0.03, "int8": 0.2}
"""Largest difference of a probability from the reference, by the fewest bits that are computed in.
Measured on 500 reviews with MiniLM: 0.0009, 0.008 and 0.15."""


@dataclass(frozen=True)
class EngineCheck:
    """One engine of a model folder, compared with torch in fp32 on the validation split.

    Attributes:
        name: Such as `openvino-int8`.
        file: File of the network, relative to the model folder.
        sha256: Digest of the weights beside that file.
        precision: Asked of the engine: `f32` or `bf16`; what was quantised stays int8.
        labels_equal: Share of reviews with the reference's label.
        max_probability_difference: Largest difference of a calibrated probability.
        reviews: How many were compared.
    """

    name: str
    file: str
    sha256: str
    precision: str
    labels_equal: float
    macro_f1: float
    macro_f1_reference: float
    max_probability_difference: float
    reviews: int

    @property
    def is_reference(self) -> bool:
        """Whether the engine computes in fp32 throughout: exact, and never the fastest."""
        return self.name.endswith("fp32")

    @property
    def may_serve(self) -> bool:
        """Whether the engine agrees with the reference well enough to answer in its place."""
        return (
            self.labels_equal >= MIN_LABELS_EQUAL
            and self.max_probability_difference <= probability_bound(self.name)
            and self.macro_f1_reference - self.macro_f1 <= MAX_MACRO_F1_LOSS
        )


def probability_bound(engine: str) -> float:
    """The largest difference of a probability that an engine of this name may show."""
    kind = next((kind for kind in ("int8", "bf16") if kind in engine), "f32")
    return MAX_PROBABILITY_DIFFERENCE[kind]


def write_engines(model_folder: str | Path, checks: list[EngineCheck]) -> None:
    """Write `engines.json` into a model folder."""
    rows = [asdict(check) | {"may_serve": check.may_serve} for check in checks]
    write_json(Path(model_folder) / ENGINES, {"engines": rows})


def read_engines(model_folder: str | Path) -> list[EngineCheck]:
    """The engines of a model folder; none where it was not exported."""
    path = Path(model_folder) / ENGINES
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = read_json(path)["engines"]
    return [EngineCheck(**{name: row[name] for name in row if name != "may_serve"}) for row in rows]
