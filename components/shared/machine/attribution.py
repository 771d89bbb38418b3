"""Integrated gradients: what each token of a text adds to the log-probability of a class.

Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks". Gradients are added up on the
way from the empty text, which has [PAD] for every token but the special ones, to the text itself.
What the tokens add must together be the difference between the two: by how much it is not, says
how far the numbers can be trusted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.inference import fast_precision

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

NODES, MORE_NODES = 20, 50
"""Points on the way at which the gradient is taken, and how many where those were too few."""

TOLERATED_ERROR = 0.05
"""Error of completeness above which the way is walked again with more points."""

_LEAST_DIFFERENCE = 0.1
_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True)
class Attribution:
    """What each token adds, in natural logarithms of the probability.

    Attributes:
        tokens: [t]; special tokens, which the empty text has too, add nothing.
        difference: Log-probability of the class given the text, minus that given the empty text.
        nodes: Points at which the gradient was taken.
    """

    tokens: NDArray[np.float64]
    difference: float
    nodes: int

    @property
    def completeness_error(self) -> float:
        """What is missing from the sum, as a share of the difference.

        Of 0.1 where that is smaller: a tenth of almost nothing says nothing.
        """
        missing = abs(float(self.tokens.sum()) - self.difference)
        return missing / max(abs(self.difference), _LEAST_DIFFERENCE)


def attribute(
    network: "PreTrainedModel",
    input_ids: Sequence[int],
    special: Sequence[int],
    target: int,
    temperature: float = 1.0,
) -> Attribution:
    """What each token adds to the log-probability of one class.

    Args:
        network: A classifier in evaluation mode whose parameters need no gradients.
        input_ids: Token ids of one text, special tokens included, unpadded [t].
        special: 1 where a token is special, 0 elsewhere [t].
        target: Class index.
        temperature: Divisor of the logits.

    Raises:
        UserError: If the network's numbers are not finite.
    """
    import torch
    from captum.attr import IntegratedGradients

    precision = fast_precision(network.device)

    def log_probabilities(embedded: "Tensor") -> "Tensor":
        # No mask: nothing is padded. The empty text's [PAD] are tokens to be seen like others.
        logits = network(inputs_embeds=embedded).logits.float()
        return (logits / temperature).log_softmax(-1)

    ids = torch.tensor([list(input_ids)], device=network.device)
    kept = torch.tensor([list(special)], device=network.device).bool()
    empty = ids.masked_fill(~kept, network.config.pad_token_id or 0)
    with torch.no_grad():
        ends = network.get_input_embeddings()(torch.cat([ids, empty]))
        of_text, of_empty = log_probabilities(ends)[:, target].tolist()

    def quickly(embedded: "Tensor") -> "Tensor":
        # Half the time; it changes the sum by less than so few points do.
        with torch.autocast(network.device.type, torch.bfloat16, precision == "bf16"):
            return log_probabilities(embedded)

    gradients, found = IntegratedGradients(quickly), None
    for nodes in (NODES, MORE_NODES):
        added = gradients.attribute(
            ends[:1],
            ends[1:],
            target=target,
            n_steps=nodes,
            method="gausslegendre",
            internal_batch_size=min(nodes, max(1, _TOKENS_AT_ONCE // len(input_ids))),
        )
        tokens = added.sum(-1)[0].double().cpu().numpy()
        found = Attribution(tokens, of_text - of_empty, nodes)
        if not np.isfinite([*tokens, found.difference]).all():
            raise UserError(
                "the model's gradients are not finite: training diverged; train again with a lower "
                "learning rate"
            )
        if found.completeness_error <= TOLERATED_ERROR:
            break
    return found
