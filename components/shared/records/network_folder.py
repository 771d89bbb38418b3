"""Writing the model folder, whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.machine.base_model import load_tokenizer
from components.shared.machine.files import replaced_when_whole, write_json
from components.shared.records.decision import Calibration
from components.shared.records.model_card import write_model_card
from components.shared.records.model_folder import CALIBRATION, TRAINING, check_model_folder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def write_model_folder(
    folder: str | Path,
    classifier: "PreTrainedModel",
    base_model: str,
    calibration: Calibration,
    training: dict[str, Any],
) -> None:
    """Write weights, configuration, tokenizer, calibration, training facts and model card.

    Args:
        folder: Replaced in one rename when everything is written.
        classifier: Plain fp32 sequence classifier.
        base_model: Whose tokenizer goes along.
        calibration: Fitted on validation.
        training: Content of `training.json`; keys as `read_training_facts` says.
    """
    from transformers.utils import logging as transformers_logging

    with replaced_when_whole(folder) as draft:
        draft.mkdir()
        transformers_logging.disable_progress_bar()
        classifier.config.decision_offsets = list(calibration.decision_offsets)
        classifier.save_pretrained(draft)
        _tokenizer(base_model, training["max_tokens"]).save_pretrained(draft)
        write_json(draft / CALIBRATION, calibration.to_dict())
        write_json(draft / TRAINING, training)
        write_model_card(draft)
        for file in draft.iterdir():
            file.chmod(0o644)  # weights come out readable by their owner alone
        check_model_folder(draft)


def _tokenizer(base_model: str, max_tokens: int) -> "PreTrainedTokenizerFast":
    """The base model's tokenizer, which cuts where training cut when it is asked to."""
    tokenizer = load_tokenizer(base_model)
    tokenizer.model_max_length = max_tokens
    # What some tokenizers carry from a truncation of their own would contradict that.
    for name in ("max_length", "stride", "truncation_strategy"):
        tokenizer.init_kwargs.pop(name, None)
    return tokenizer
