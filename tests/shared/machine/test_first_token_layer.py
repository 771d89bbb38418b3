import copy
from itertools import product

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.machine.first_token_layer import compute_first_token_only

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 32, "max_position_embeddings": 40, "num_labels": 3}
KINDS = {
    "bert": (transformers.BertForSequenceClassification, transformers.BertConfig(**SIZES)),
    "roberta": (
        transformers.RobertaForSequenceClassification,
        transformers.RobertaConfig(**SIZES, pad_token_id=1),
    ),
}


@pytest.fixture(scope="module", params=product(KINDS, ("eager", "sdpa")), ids=str)
def pair(request, tmp_path_factory):
    """A model as it is, and one whose last layer is cut down; weights that make a difference."""
    kind, how = request.param
    made, config = KINDS[kind]
    torch.manual_seed(0)
    model = made(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    folder = tmp_path_factory.mktemp(kind)
    model.save_pretrained(folder)
    whole = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation=how
    )
    assert whole.config._attn_implementation == how
    cut = copy.deepcopy(whole).eval()
    assert compute_first_token_only(cut)
    return whole.eval(), cut


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_logits_are_those_of_the_full_layer_with_and_without_padding(pair, lengths, seed):
    whole, cut = pair
    torch.manual_seed(seed)
    width = max(lengths)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 60, (len(lengths), width))
    ids = torch.where(mask.bool(), ids, torch.tensor(whole.config.pad_token_id))
    with torch.no_grad():
        expected = whole(input_ids=ids, attention_mask=mask).logits
        found = cut(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_last_layer_returns_one_token_and_keeps_its_weights(pair):
    whole, cut = pair
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        assert cut.base_model(input_ids=ids).last_hidden_state.shape == (1, 1, 16)
    assert list(cut.state_dict()) == list(whole.state_dict())


def test_gradients_are_those_of_the_full_layer(pair):
    whole, cut = pair
    ids, classes = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]]), torch.tensor([0, 2])
    for model in (whole, cut):
        model.zero_grad()
        model(input_ids=ids, labels=classes).loss.backward()
    for (name, expected), found in zip(whole.named_parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_other_architectures_stay_as_they_are():
    config = transformers.DistilBertConfig(
        vocab_size=60, dim=16, n_layers=1, n_heads=2, hidden_dim=32
    )
    model = transformers.DistilBertForSequenceClassification(config)
    assert not compute_first_token_only(model)
    decoder = transformers.BertForSequenceClassification(
        transformers.BertConfig(**SIZES, is_decoder=True)
    )
    assert not compute_first_token_only(decoder)
    assert "forward" not in vars(decoder.base_model.encoder.layer[-1])
