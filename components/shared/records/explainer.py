"""A loaded model folder that explains its answers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.attribution import attribute
from components.shared.machine.errors import UserError
from components.shared.machine.first_token_layer import compute_first_token_only
from components.shared.machine.inference import load_model, predict_logits
from components.shared.records.decision import decide, probabilities
from components.shared.records.explanation import Explanation, words_of
from components.shared.records.model_folder import (
    TOKENIZER,
    check_model_folder,
    kind_of,
    read_calibration,
    read_class_names,
    read_training_facts,
)
from components.shared.records.occlusion import OcclusionExplainer
from components.shared.records.sparse_model import SPARSE


def load_explainer(model_folder: str | Path) -> "Explainer | OcclusionExplainer":
    """What explains a model folder of any kind; `UserError` if it cannot be loaded."""
    is_sparse = kind_of(check_model_folder(model_folder)) == SPARSE
    return OcclusionExplainer(model_folder) if is_sparse else Explainer(model_folder)


class Explainer:
    """Explains the answers of one model by integrated gradients, through torch.

    Texts are what `components.shared.records.text.model_text` makes.
    """

    def __init__(self, model_folder: str | Path) -> None:
        """Load a model folder; raises `UserError` if it is not whole or cannot be loaded."""
        from tokenizers import Tokenizer

        folder = check_model_folder(model_folder)
        self.class_names = read_class_names(folder)
        self._calibration = read_calibration(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(read_training_facts(folder)["max_tokens"]))
        # Gradients of the weights would double time and memory.
        self._network = load_model(folder).requires_grad_(False)
        compute_first_token_only(self._network)
        # For reviews of some 80 tokens, faster than the fused kernel's backward pass on CPUs.
        self._network.set_attn_implementation("eager")

    def explain(self, text: str, label_id: int | None = None) -> Explanation:
        """The answer to a text, and what each word adds to its log-probability.

        Args:
            text: The text; `UserError` if it is blank.
            label_id: The class that was decided for, where another engine decided.
        """
        if not text.strip():
            raise UserError("the review is blank; give its text")
        encoding = self._tokenizer.encode(text)
        logits = predict_logits(self._network, [encoding.ids])
        decided = int(decide(logits, self._calibration)[0]) if label_id is None else label_id
        special, temperature = encoding.special_tokens_mask, self._calibration.temperature
        added = attribute(self._network, encoding.ids, special, decided, temperature)
        own = [place for place, is_special in enumerate(special) if not is_special]
        words, unread = words_of(
            text,
            [encoding.offsets[place] for place in own],
            added.tokens[own],
            truncated=bool(encoding.overflowing),
        )
        chances = probabilities(logits, self._calibration)[0].tolist()
        return Explanation(
            label=self.class_names[decided],
            label_id=decided,
            probabilities=dict(zip(self.class_names, chances, strict=True)),
            words=words,
            unread=unread,
            completeness_error=added.completeness_error,
            difference=added.difference,
        )

    def answers(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Class index [n] and calibrated probabilities [n, classes] of texts, unexplained."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        logits = predict_logits(self._network, [encoding.ids for encoding in encodings])
        return decide(logits, self._calibration), probabilities(logits, self._calibration)
