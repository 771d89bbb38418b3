import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

from components.training.loop.distributed import Ranks
from components.training.loop.network import (
    build_network,
    dropout_mask,
    encoder_layers,
    load_classifier,
)
from components.training.loop.step import (
    Learner,
    WorkingCopy,
    build_optimiser,
    class_weights,
    move_average,
    rate_share,
    total_loss,
)
from components.training.options import TrainingOptions

CPU = torch.device("cpu")


KINDS = {
    "roberta": {
        **{"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2},
        **{"intermediate_size": 32, "pad_token_id": 1},
    },
    "distilbert": {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2},
}


@pytest.fixture(params=["bert", *KINDS])
def model_folder(request, tiny_bert, tmp_path):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    if request.param == "bert":
        return tiny_bert
    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "max_position_embeddings": 40, "num_labels": 3}
    config = AutoConfig.for_model(request.param, **sizes, **KINDS[request.param])
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def network(tiny_bert):
    return build_network(load_classifier(str(tiny_bert), seed=1), 42)


def some_batch():
    random = np.random.default_rng(0)
    tokens = torch.from_numpy(random.integers(5, 50, size=(4, 9)))
    mask = torch.ones_like(tokens)
    mask[1, 5:] = 0
    mask[2, 2:] = 0
    tokens[mask == 0] = 1
    return tokens, mask


def test_the_network_gives_the_classifiers_own_logits_and_ratings(model_folder):
    classifier = load_classifier(str(model_folder), seed=1)
    network = build_network(classifier, 42).eval()
    tokens, mask = some_batch()
    logits, ratings = network(tokens, mask)
    expected = classifier(input_ids=tokens, attention_mask=mask).logits
    assert torch.allclose(logits, expected, atol=1e-6)
    assert ratings.shape == (4, 5)


def test_dropout_acts_before_the_classification_layer_only(tiny_bert):
    classifier = load_classifier(str(tiny_bert), seed=1)
    tokens, mask = some_batch()
    network = build_network(classifier, 42, freeze_embeddings=True, frozen_share=0.34).train()
    first, second = network(tokens, mask), network(tokens, mask)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    nothing = network(tokens, mask, torch.zeros(4, network.rating_head.in_features))
    assert torch.equal(nothing[0], classifier.classifier.bias.expand(4, 3))
    assert torch.equal(nothing[1], network.rating_head.bias.expand(4, 5))


def test_dropouts_mask_keeps_the_mean_and_drops_its_share(network):
    torch.manual_seed(0)
    mask = dropout_mask(network, 2000, 0.2, CPU)
    assert mask.shape == (2000, 16)
    assert mask.unique().tolist() == [0.0, 1.25]
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.02)
    assert dropout_mask(network, 2000, 0.0, CPU) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_working_copys_gradients_reach_the_masters(model_folder, precision):
    options = TrainingOptions(dropout=0.0, freeze_embeddings=False)
    network = build_network(load_classifier(str(model_folder), seed=1), 42)
    reference = copy.deepcopy(network)
    working = WorkingCopy(network, precision, CPU)
    tokens, mask = some_batch()
    classes, ratings = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 3, 0, 5])
    for model in (reference, working.network):
        total_loss(model(tokens, mask), classes, ratings, torch.ones(4), options, 4).backward()
    working.collect_gradients()
    expected = torch.cat([p.grad.flatten() for p in reference.parameters() if p.requires_grad])
    found = torch.cat([master.grad.flatten() for master in working.masters])
    assert found.dtype == torch.float32
    tolerance = 1e-5 if precision == "fp32" else 0.05
    assert (found - expected).norm() <= tolerance * expected.norm()


def test_the_working_copy_follows_the_masters(network):
    working = WorkingCopy(network.eval(), "fp32", CPU)
    working.network.eval()
    tokens, mask = some_batch()
    before = working.network(tokens, mask)[0]
    with torch.no_grad():
        for master in working.masters:
            master.add_(0.1)
    assert torch.equal(working.network(tokens, mask)[0], before)
    working.refresh()
    assert torch.allclose(working.network(tokens, mask)[0], network(tokens, mask)[0], atol=1e-6)


def test_lower_layers_learn_more_slowly_and_biases_do_not_decay(network):
    options = TrainingOptions(
        learning_rate=1e-3, head_learning_rate=1e-2, layer_decay=0.5, freeze_embeddings=False
    )
    groups = build_optimiser(network, options).param_groups
    group_of = {id(p): group for group in groups for p in group["params"]}
    layer = "classifier.bert.encoder.layer.{}.output.dense.{}"
    for name, peak, decay in (
        (layer.format(1, "weight"), 1e-3, options.weight_decay),
        (layer.format(1, "bias"), 1e-3, 0.0),
        (layer.format(0, "weight"), 5e-4, options.weight_decay),
        ("classifier.bert.embeddings.word_embeddings.weight", 2.5e-4, options.weight_decay),
        ("classifier.bert.pooler.dense.weight", 1e-3, options.weight_decay),
        ("classifier.classifier.weight", 1e-2, options.weight_decay),
        ("rating_head.weight", 1e-2, options.weight_decay),
    ):
        group = group_of[id(network.get_parameter(name))]
        assert group["peak"] == pytest.approx(peak), name
        assert group["weight_decay"] == decay, name


def test_the_rate_rises_to_its_peak_and_falls_to_nearly_nothing():
    shares = [rate_share(step, 100, 0.1) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == 1.0
    assert all(a < b for a, b in pairwise(shares[:10]))
    assert all(a >= b for a, b in pairwise(shares[10:]))
    assert 0 < shares[-1] < 0.02
    assert [rate_share(step, 3, 0.0) for step in range(3)] == pytest.approx([1, 2 / 3, 1 / 3])


def test_class_weights_leave_the_mean_weight_of_the_rows_at_1():
    counts = np.array([10, 30, 60])
    for rule in ("none", "sqrt", "balanced"):
        weights = class_weights(counts, rule)
        assert (weights * counts).sum() == pytest.approx(100, rel=1e-6)
    assert class_weights(counts, "balanced") * counts == pytest.approx([100 / 3] * 3)
    assert class_weights(counts, "none") == pytest.approx([1, 1, 1])


def loss_of(classes, ratings, weights=(1.0, 1.0, 1.0), rows=None, **options):
    """Of the logits (2, 0, 0) for the first row and zeros for the others."""
    logits = torch.zeros(len(classes), 3)
    logits[0, 0] = 2.0
    outputs = logits, torch.zeros(len(classes), 5)
    targets = torch.tensor(classes), torch.tensor(ratings)
    options = TrainingOptions(**{"rating_loss_weight": 0.0, **options})
    of = torch.tensor(weights)[targets[0]], options, rows or len(classes)
    return float(total_loss(outputs, *targets, *of))


def test_the_loss_is_weighted_cross_entropy():
    expected = (3 * np.log(1 + 2 * np.exp(-2.0)) + np.log(3)) / 2
    assert loss_of([0, 1], [0, 0], (3.0, 1.0, 1.0)) == pytest.approx(expected, rel=1e-6)
    assert loss_of([0, 1], [0, 0], (3.0, 1.0, 1.0), rows=8) == pytest.approx(expected / 4, rel=1e-6)
    doubtful = loss_of([0, 1], [0, 0], (1.5, 0.0, 0.0))  # a row of no weight adds nothing
    assert doubtful == pytest.approx(0.75 * np.log(1 + 2 * np.exp(-2.0)), rel=1e-6)
    # A share of the target goes to each class, the right one too.
    plain, smooth = np.log(1 + 2 * np.exp(-2.0)), 0.2 * 2 * 2 / 3
    assert loss_of([0], [0], label_smoothing=0.2) == pytest.approx(plain + smooth, rel=1e-5)


def test_unrated_rows_have_no_part_in_the_rating_loss():
    sentiment = loss_of([0, 1, 2, 2], [1, 0, 0, 5])
    both = loss_of([0, 1, 2, 2], [1, 0, 0, 5], rating_loss_weight=0.5)
    assert both - sentiment == pytest.approx(0.5 * np.log(5) / 2, rel=1e-5)
    assert loss_of([0, 1], [0, 0], rating_loss_weight=0.5) == loss_of([0, 1], [0, 0])


def test_the_average_trails_the_weights_and_is_not_moved_by_them_in_place():
    average, weight = [torch.zeros(1)], torch.ones(1)
    for step in (100, 101):
        move_average(average, [weight], 0.5, step)
    assert float(average[0]) == pytest.approx(0.75)
    move_average(average, [torch.zeros(1)], 0.5, step=0)  # early on it follows more quickly
    assert float(average[0]) == pytest.approx(0.075)


def test_the_average_begins_at_the_weights_and_is_no_view_of_them(tiny_bert):
    learner = Learner(str(tiny_bert), TrainingOptions(), np.ones(3), Ranks(device=CPU))
    for average, master in zip(learner.average, learner.working.masters, strict=True):
        assert torch.equal(average, master)
        assert average.data_ptr() != master.data_ptr()


@pytest.mark.parametrize(("share", "layers"), [(0.0, 0), (0.34, 0), (0.5, 1), (0.99, 1), (1.0, 2)])
def test_the_frozen_share_is_rounded_down_to_layers(share, layers, tiny_bert):
    classifier = load_classifier(str(tiny_bert), 1)
    build_network(classifier, 42, freeze_embeddings=True, frozen_share=share)
    layers_ = encoder_layers(classifier)
    trained = [any(p.requires_grad for p in layer.parameters()) for layer in layers_]
    assert trained == [False] * layers + [True] * (2 - layers)
