"""The model as MLflow loads it: a frame of reviews in, labels and probabilities out.

This file travels with every registered version, beside copies of `text.py` and `decision.py`, and
runs where nothing of this project is installed. Hence the relative imports, and none but these.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .decision import Calibration, decide, probabilities
from .text import model_text

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 16


class PortableModel:
    """A model folder in torch: the same text, cut and decisions as in our own server."""

    def __init__(self, folder: Path) -> None:
        """Load tokenizer, weights and calibration from a model folder."""
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        def read(name: str) -> Any:
            return json.loads((folder / name).read_text(encoding="utf-8"))

        self._calibration = Calibration.from_dict(read("calibration.json"))
        self._max_tokens = int(read("training.json")["max_tokens"])
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._network = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()

    def predict(self, model_input: "pd.DataFrame", params: Any = None) -> "pd.DataFrame":
        """Label and probability of each class (`p_<class>`) of each row.

        Args:
            model_input: Columns `review_body` and, where there is one, `title`.
            params: Ignored: there are no parameters; MLflow passes the argument.
        """
        import numpy as np
        import pandas as pd
        import torch

        bodies = model_input["review_body"].tolist()
        titles = model_input["title"].tolist() if "title" in model_input else [None] * len(bodies)
        texts = [
            model_text(*(part if isinstance(part, str) else None for part in parts))
            for parts in zip(titles, bodies, strict=True)
        ]
        names = [self._network.config.id2label[index] for index in range(self._classes)]
        logits = np.zeros((len(texts), len(names)), dtype=np.float32)
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
        chances = probabilities(logits, self._calibration)
        labels = [names[index] for index in decide(logits, self._calibration)]
        columns = {f"p_{name}": chances[:, index] for index, name in enumerate(names)}
        return pd.DataFrame({"label": labels, **columns}, index=model_input.index)

    @property
    def _classes(self) -> int:
        return int(self._network.config.num_labels)


def _load_pyfunc(path: str) -> PortableModel:
    """What MLflow calls to load the `python_function` flavour."""
    return PortableModel(Path(path))
