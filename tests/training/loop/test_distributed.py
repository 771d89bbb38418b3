import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.training.loop.data import epoch_batches, read_training_set
from components.training.loop.distributed import Ranks, joined_ranks
from components.training.loop.run import TrainingRun
from components.training.options import TrainingOptions

CPU = torch.device("cpu")


class Stopped(Exception):  # noqa: N818 - not an error
    """Ends a step where the ranks would talk."""


class LoneRank(Ranks):
    """One of several ranks, alone: records what it would sum with the others."""

    def copy_from_first(self, tensors):
        pass

    def sum(self, *tensors):
        self.summed = [tensor.clone() for tensor in tensors]
        raise Stopped


@given(
    st.lists(st.integers(2, 160), min_size=1, max_size=400),
    st.integers(1, 50),
    st.integers(1, 17),
    st.integers(0, 3),
)
def test_the_ranks_shares_of_an_epoch_hold_each_row_once_and_are_balanced(
    lengths, batch_size, count, epoch
):
    lengths = np.array(lengths)
    shares = [Ranks(number, count, CPU).share for number in range(count)]
    shown = []
    for batch in epoch_batches(lengths, np.ones_like(lengths), batch_size, seed=1, epoch=epoch):
        parts = [batch[share] for share in shares]
        shown += parts
        rows = [len(part) for part in parts]
        tokens = [int(lengths[part].sum()) for part in parts]
        assert max(rows) - min(rows) <= 1
        assert max(tokens) - min(tokens) <= lengths[batch].max()
    assert sorted(np.concatenate(shown)) == list(range(len(lengths)))


OPTIONS = TrainingOptions(
    **{"dropout": 0.3, "token_dropout": 0.3, "label_smoothing": 0.1, "precision": "fp32"},
    **{"class_weights": "balanced", "freeze_embeddings": False},
)


@pytest.fixture(scope="module")
def splits(small_set):
    return read_training_set(small_set)


def summed_in_a_step(splits, tiny_bert, count: int, rows: int) -> list[torch.Tensor]:
    """Gradients and loss of a step on some rows, summed over the ranks."""
    summed = []
    for number in range(count):
        ranks = LoneRank(number, count, CPU)
        run = TrainingRun(*splits, str(tiny_bert), OPTIONS, ranks)
        with pytest.raises(Stopped):
            run.train_step(np.arange(3, 3 + rows))
        summed.append(ranks.summed)
    return [sum(parts) for parts in zip(*summed, strict=True)]


@pytest.mark.parametrize("rows", [8, 2])
@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_gradients_and_losses_add_up_to_the_batchs(splits, tiny_bert, count, rows):
    expected = summed_in_a_step(splits, tiny_bert, 1, rows)
    found = summed_in_a_step(splits, tiny_bert, count, rows)
    assert float(expected[0].norm()) > 0.1
    for one, many in zip(expected, found, strict=True):
        assert torch.allclose(one, many, rtol=1e-5, atol=1e-6)


def test_the_ranks_read_validation_once_between_them(splits, tiny_bert):
    _, validation = splits
    long = np.tile(np.arange(len(validation)), 10)  # several batches
    many = type(validation)(
        np.concatenate([validation.row(row) for row in long]),
        np.concatenate([[0], np.cumsum(validation.lengths[long])]),
        *(
            getattr(validation, name)[long]
            for name in ("classes", "ratings", "copies", "weights", "weak")
        ),
    )
    run = TrainingRun(*splits, str(tiny_bert), OPTIONS, Ranks(device=CPU))
    whole = run.validation_logits(many)
    parts = []
    for number in range(3):
        run.ranks = LoneRank(number, 3, CPU)
        with pytest.raises(Stopped):
            run.validation_logits(many)
        parts.append(run.ranks.summed[0].numpy())
    assert np.array_equal(sum(parts), whole)
    assert np.array_equal(sum((part != 0).any(axis=1) for part in parts), np.ones(len(many)))


def test_a_lone_process_is_the_first_rank_and_talks_to_no_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    with joined_ranks() as ranks:
        assert ranks.first
        assert ranks.share == slice(0, None, 1)
        ranks.wait()
        ranks.check_same({"seed": "1"})
        ranks.sum(values := torch.ones(2))
        assert values.tolist() == [1.0, 1.0]
        assert ranks.checkpoint_from_first(found := ({}, {"step": 1})) is found


def test_more_processes_than_gpus_are_reported_in_words(monkeypatch):
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "3"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UserError, match="process 3 of this node has no GPU, the node has 2"):
        joined_ranks().__enter__()
