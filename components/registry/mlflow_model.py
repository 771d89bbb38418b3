"""A model folder as MLflow knows models: `MLmodel`, signature, example, requirements, code.

Two flavours, neither with a pickle. `python_function` reads `title` and `review_body`, joins them,
and decides as our server does; `transformers`, which a sparse model lacks, is a pipeline that reads
one text.
"""

import hashlib
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.machine.files import read_json
from components.shared.records import portable_model
from components.shared.records.model_folder import (
    CONFIG,
    TRAINING,
    TRANSFORMER,
    kind_of,
    read_calibration,
    read_class_names,
)
from components.shared.records.sparse_model import SPARSE

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_REQUIREMENTS = {
    TRANSFORMER: ("mlflow", "numpy", "pandas", "safetensors", "torch", "transformers"),
    SPARSE: ("mlflow", "numpy", "pandas", "safetensors", "scikit-learn", "scipy"),
}
_TOKENIZER_COPY = "components/tokenizer"
"""Where MLflow's flavour `transformers` looks for the tokenizer."""

EXAMPLE = {"title": "Runs small", "review_body": "The fabric itches. Sent it back."}


def write_mlflow_model(folder: Path) -> None:
    """Write into a model folder what makes it a model for MLflow's own tools."""
    import pandas as pd
    from mlflow import pyfunc

    from components.shared.machine.tracking import quiet_mlflow

    quiet_mlflow()
    with tempfile.TemporaryDirectory() as workshop:
        code, written = _code(Path(workshop)), Path(workshop) / "written"
        pyfunc.save_model(
            written,
            loader_module=code.name,
            code_paths=[str(code)],
            signature=_signature(folder),
            input_example=pd.DataFrame([EXAMPLE]),
            metadata={"decision_offsets": list(read_calibration(folder).decision_offsets)},
            pip_requirements=[
                f"{name}=={version(name).partition('+')[0]}"
                for name in _REQUIREMENTS[kind_of(folder)]
            ],
        )
        shutil.copytree(written, folder, dirs_exist_ok=True)
    if kind_of(folder) == TRANSFORMER:
        _add_transformers_flavour(folder)


def _add_transformers_flavour(folder: Path) -> None:
    from mlflow.models import Model

    tokenizer = folder / _TOKENIZER_COPY
    tokenizer.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("tokenizer*.json"):
        shutil.copy(file, tokenizer)
    config = read_json(folder / CONFIG)
    model = Model.load(folder)
    model.add_flavor(
        "transformers",
        task="text-classification",
        instance_type="TextClassificationPipeline",
        pipeline_model_type=(config.get("architectures") or ["AutoModelForSequenceClassification"])[
            0
        ],
        source_model_name=str(read_json(folder / TRAINING).get("base_model", "")),
        model_binary=".",
        components=["tokenizer"],
        tokenizer_type="AutoTokenizer",
        torch_dtype="torch.float32",
        transformers_version=version("transformers"),
    )
    model.save(folder / "MLmodel")


def _code(workshop: Path) -> Path:
    """A package of the code that goes along, named by its content.

    One process may load versions of several releases, and Python keeps one module of a name.
    """
    here = Path(str(portable_model.__file__))
    files = {f"{name}.py": here.with_name(f"{name}.py") for name in portable_model.TRAVELS_WITH}
    sources = {name: file.read_bytes() for name, file in {"__init__.py": here, **files}.items()}
    digest = hashlib.sha256(b"".join(sources.values())).hexdigest()
    package = workshop / f"review_sentiment_model_{digest[:8]}"
    package.mkdir()
    for name, source in sources.items():
        (package / name).write_bytes(source)
    return package


def _signature(folder: Path) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    names = read_class_names(folder)
    return ModelSignature(
        Schema([ColSpec("string", "title", required=False), ColSpec("string", "review_body")]),
        Schema([ColSpec("string", "label"), *(ColSpec("double", f"p_{name}") for name in names)]),
    )
