"""Fixtures that several rooms share: a tiny BERT made on the spot, and a small training set."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
# Workers beside each other: threads that wait for the cores of others cost a fifth of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest

RATED = {"label_source": "rating", "label_probability": 1.0, "weight": 1.0}
"""What a row of the prepared reviews holds that is labelled by its stars."""

WORDS = (
    *("good", "great", "lovely", "soft", "fits", "love", "poor", "awful", "itchy", "tight"),
    *("returned", "okay", "fine", "average", "the", "a", "dress", "top", "is", "it", "and"),
    *("but", "not", "very", "size", "color", "fabric", "i", "this"),
)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a randomly initialised two-layer BERT of width 16 and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    from components.shared.records.labels import SENTIMENTS

    folder = tmp_path_factory.mktemp("tiny-bert")
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [*specials, *WORDS, *[x for x in letters if x not in WORDS], *".,!?'"]
    vocabulary += [f"##{letter}" for letter in letters]
    core = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        id2label=dict(enumerate(SENTIMENTS.names)),
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def store_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the environment names as the feature store."""
    folder = tmp_path / "store"
    monkeypatch.setenv("FEATURE_STORE_DIR", str(folder))
    monkeypatch.delenv("FEATURE_STORE_CONFIG", raising=False)
    return folder
