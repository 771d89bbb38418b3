"""The model as MLflow loads it: a frame of reviews in, labels and probabilities out.

This file travels with every registered version, beside copies of `TRAVELS_WITH`, and runs where
nothing of this project is installed. Hence the relative imports, and none but these.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .decision import Calibration, decide, probabilities
from .sparse_model import SPARSE, SparseModel
from .text import model_text

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

TRAVELS_WITH = ("decision", "fasttext_features", "sparse_model", "text")

_BATCH = 16


class PortableModel:
    """A model folder of any kind: the same text, cut and decisions as in our own server."""

    def __init__(self, folder: Path) -> None:
        """Load class names, calibration and what computes from a model folder."""

        def read(name: str) -> Any:
            return json.loads((folder / name).read_text(encoding="utf-8"))

        config = read("config.json")
        self._names = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
        self._calibration = Calibration.from_dict(read("calibration.json"))
        sparse = config.get("model_type") == SPARSE
        max_tokens = int(read("training.json")["max_tokens"])
        self._model = SparseModel(folder) if sparse else _Network(folder, max_tokens)

    def predict(self, model_input: "pd.DataFrame", params: Any = None) -> "pd.DataFrame":
        """Label and probability of each class (`p_<class>`) of each row.

        Args:
            model_input: Columns `review_body` and, where there is one, `title`.
            params: None are known; MLflow hands them over.
        """
        import pandas as pd

        bodies = model_input["review_body"].tolist()
        titles = model_input["title"].tolist() if "title" in model_input else [None] * len(bodies)
        texts = [
            model_text(*(part if isinstance(part, str) else None for part in parts))
            for parts in zip(titles, bodies, strict=True)
        ]
        logits = self._model.logits(texts)
        chances = probabilities(logits, self._calibration)
        labels = [self._names[index] for index in decide(logits, self._calibration)]
        columns = {f"p_{name}": chances[:, index] for index, name in enumerate(self._names)}
        return pd.DataFrame({"label": labels, **columns}, index=model_input.index)


class _Network:
    """A transformer in torch."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self._max_tokens = max_tokens
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._network = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()

    def logits(self, texts: Sequence[str]) -> "NDArray[np.float32]":
        """Logits [n, classes] of n texts."""
        import torch

        logits = np.zeros((len(texts), int(self._network.config.num_labels)), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # little to pad
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            inputs = self._tokenizer(
                [texts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=self._max_tokens,
                return_tensors="pt",
            )
            with torch.inference_mode():
                logits[rows] = self._network(**inputs).logits.numpy()
        return logits


def _load_pyfunc(path: str) -> PortableModel:
    """What MLflow calls to load the `python_function` flavour."""
    return PortableModel(Path(path))
