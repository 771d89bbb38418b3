"""A model of made-up reviews, trained by the project itself in seconds."""

import random

import pyarrow as pa

from components.shared.machine.files import write_parquet
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from tests.conftest import RATED
from tests.training.conftest import FILLER, WORDS_BY_SENTIMENT


def made_up_reviews(count, seed):
    """Texts and sentiments; the sentiment shows in two words among others."""
    chance, reviews = random.Random(seed), []
    for number in range(count):
        sentiment = (-1, 0, 1, 1, 1)[number % 5]
        words = chance.choices(FILLER, k=chance.randint(2, 25))
        for _ in range(2):
            words.insert(
                chance.randint(0, len(words)), chance.choice(WORDS_BY_SENTIMENT[sentiment])
            )
        reviews.append((" ".join(words), sentiment))
    chance.shuffle(reviews)
    return reviews


def trained(base_model, folder, *, shuffled):
    import torch

    from components.shared.machine.base_model import load_tokenizer
    from components.training.fine_tune import fine_tune
    from components.training.options import TrainingOptions

    tokenizer, rows = load_tokenizer(str(base_model)), []
    for split, count in (("train", 480), ("validation", 100)):
        reviews = made_up_reviews(count, seed=len(split))
        labels = [sentiment for _, sentiment in reviews]
        if shuffled:
            random.Random(0).shuffle(labels)
        for number, ((text, _), sentiment) in enumerate(zip(reviews, labels, strict=True)):
            ids = tokenizer(text)["input_ids"]
            row = {"review_id": f"{split}-{number}", "split": split, "sentiment": sentiment}
            row |= {
                "rating": 3 + 2 * sentiment,
                "product_category": "Dresses",
                "copies": 1,
                **RATED,
            }
            rows.append(row | {"input_ids": ids, "n_tokens": len(ids)})
    training_set = folder.with_suffix(".parquet")
    write_parquet(training_set, pa.Table.from_pylist(rows, schema=TRAINING_SET_SCHEMA))
    options = {"epochs": 25, "early_stopping_patience": 0, "min_steps": 0}
    options |= {"learning_rate": 0.01, "head_learning_rate": 0.01}
    options |= {"frozen_share": 0.0, "freeze_embeddings": False, "average_decay": 0.0}
    options |= {"evaluations_per_epoch": 1, "class_weights": "none", "token_dropout": 0.0}
    # Two threads wait for each other longer than they compute at this size.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fine_tune(training_set, str(base_model), TrainingOptions.from_dict(options), folder)
    finally:
        torch.set_num_threads(threads)
    return folder
