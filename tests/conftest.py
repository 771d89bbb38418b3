"""Fixtures that several rooms share: a tiny BERT made on the spot, and a small training set."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

from pathlib import Path

import pytest

WORDS = (
    *("good", "great", "lovely", "soft", "fits", "love", "poor", "awful", "itchy", "tight"),
    *("returned", "okay", "fine", "average", "the", "a", "dress", "top", "is", "it", "and"),
    *("but", "not", "very", "size", "color", "fabric", "i", "this"),
)",
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
        num_labels=3,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
