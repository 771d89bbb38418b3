"""What is trained: a sequence classifier, and beside it a layer that reads the star rating."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from components.shared.machine.base_model import resolve_base_model
from components.shared.machine.errors import UserError
from components.shared.records.decision import Calibration
from components.shared.records.labels import SENTIMENTS, LabelSet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RATINGS = 5


def load_classifier(base_model: str, seed: int, labels: LabelSet = SENTIMENTS) -> "PreTrainedModel":
    """Load a pretrained encoder with a new head for these classes, in fp32, from safetensors only.

    Raises:
        UserError: If there is no such model, or it cannot be read.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging as transformers_logging

    source = resolve_base_model(base_model)
    verbosity = transformers_logging.get_verbosity()
    bars_were_on = transformers_logging.is_progress_bar_enabled()
    # The library warns that the head is new: here it always is.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.manual_seed(seed)
    try:
        return AutoModelForSequenceClassification.from_pretrained(
            source,
            num_labels=len(labels),
            id2label=dict(enumerate(labels.names)),
            label2id={name: index for index, name in enumerate(labels.names)},
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            # For reviews of some 80 tokens the plain product and softmax beat the fused kernel's
            # backward pass on CPUs.
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(
            f"base model {base_model} cannot be loaded as a classifier ({reason}); "
            "check the name, the network, or that the folder holds safetensors weights"
        ) from None
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars_were_on:
            transformers_logging.enable_progress_bar()


class ReviewNetwork(nn.Module):
    """Two linear layers that read the same features: the sentiment's and the star rating's."""

    def __init__(self, classifier: "PreTrainedModel") -> None:
        super().__init__()
        self.classifier = classifier
        self.rating_head = nn.Linear(final_linear(classifier).in_features, RATINGS)
        nn.init.normal_(self.rating_head.weight, std=0.02)
        nn.init.zeros_(self.rating_head.bias)

    def forward(
        self, tokens: Tensor, mask: Tensor | None, dropout: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Sentiment logits [b, classes] and rating logits [b, 5], both fp32.

        Args:
            tokens: [b, t] token ids.
            mask: [b, t], 1 where there is a token; None where there is one everywhere.
            dropout: [b, width] from `dropout_mask`; multiplied with what both layers read.
        """
        features: list[Tensor] = []

        def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
            read = inputs[0].float()
            if dropout is not None:
                read = read * dropout
            features.append(read)
            return (read,)

        hook = final_linear(self.classifier).register_forward_pre_hook(catch)
        try:
            logits = self.classifier(input_ids=tokens, attention_mask=mask).logits
        finally:
            hook.remove()
        return logits.float(), self.rating_head(features[0])


def build_network(
    classifier: "PreTrainedModel",
    seed: int,
    *,
    freeze_embeddings: bool = False,
    frozen_share: float = 0.0,
) -> ReviewNetwork:
    """Put the rating layer beside a classifier; freeze embeddings and a share of the low layers."""
    torch.manual_seed(seed)
    network = ReviewNetwork(classifier)
    for module in classifier.modules():
        # Random numbers for every activation cost a third of the time on a CPU.
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    _freeze(classifier, freeze_embeddings, frozen_share)
    return network


def dropout_mask(
    network: ReviewNetwork, rows: int, rate: float, device: torch.device
) -> Tensor | None:
    """[rows, width] of 0 (with probability `rate`) and 1 / (1 - rate); None if nothing is dropped.

    Drawn from PyTorch's own generator for a whole batch at once, so that the draws are the same
    whoever computes which of its rows.
    """
    if rate == 0.0:
        return None
    width = network.rating_head.in_features
    return torch.empty(rows, width, device=device).bernoulli_(1 - rate).div_(1 - rate)


def final_linear(classifier: "PreTrainedModel") -> nn.Linear:
    """The linear layer whose outputs are the class logits.

    Raises:
        UserError: If the model has none, as in some rare architectures.
    """
    linears = [
        module
        for module in classifier.modules()
        if isinstance(module, nn.Linear) and module.out_features == classifier.config.num_labels
    ]
    if not linears:
        raise UserError(
            f"models of type {classifier.config.model_type} have no linear classification layer "
            "and cannot be trained here; use a BERT-like encoder"
        )
    return linears[-1]


def fold_temperature(classifier: "PreTrainedModel", calibration: Calibration) -> Calibration:
    """Divide the class logits by the temperature in the weights; the calibration that is left."""
    temperature, last = calibration.temperature, final_linear(classifier)
    with torch.no_grad():
        last.weight.div_(temperature)
        if last.bias is not None:
            last.bias.div_(temperature)
    return Calibration(1.0, calibration.decision_offsets, calibration.whole_temperature)


def encoder_layers(classifier: "PreTrainedModel") -> list[nn.Module]:
    """The transformer layers, lowest first: the longest list of modules in the model."""
    lists = [module for module in classifier.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len)) if lists else []


def head_modules(classifier: "PreTrainedModel") -> list[nn.Module]:
    """Modules that follow the encoder: the pooler, if there is one, and the classification head."""
    base = classifier.base_model
    heads = [module for module in classifier.children() if module is not base]
    pooler = getattr(base, "pooler", None)
    return heads if pooler is None else [pooler, *heads]


def depth_of(classifier: "PreTrainedModel") -> Callable[[str], int | None]:
    """How far below the top a parameter of the classifier lies.

    Returns:
        Function from a parameter's name to 0 for the top layer, 1 for the next, ..., the number
        of layers for the embeddings, or None for the head.
    """
    layers = encoder_layers(classifier)
    depth_by_id = {
        id(parameter): len(layers) - 1 - number
        for number, layer in enumerate(layers)
        for parameter in layer.parameters()
    }
    head = {id(p) for module in head_modules(classifier) for p in module.parameters()}
    named = {name: id(parameter) for name, parameter in classifier.named_parameters()}

    def depth(name: str) -> int | None:
        return None if named[name] in head else depth_by_id.get(named[name], len(layers))

    return depth


def _freeze(classifier: "PreTrainedModel", freeze_embeddings: bool, frozen_share: float) -> None:
    """Exclude the embeddings and a share of the layers, the lowest, from training."""
    layers = encoder_layers(classifier)
    frozen = int(frozen_share * len(layers))
    if freeze_embeddings or frozen:
        trained = {id(p) for layer in layers for p in layer.parameters()}
        trained |= {id(p) for module in head_modules(classifier) for p in module.parameters()}
        for parameter in classifier.parameters():
            parameter.requires_grad_(id(parameter) in trained)
    for layer in layers[:frozen]:
        layer.requires_grad_(False)
