import pytest

from components.shared.records.labels import (
    CLASS_NAMES,
    ID2LABEL,
    SENTIMENTS,
    rating_to_sentiment,
    sentiment_to_class,
)


def test_ratings_become_sentiments():
    assert [*map(rating_to_sentiment, range(1, 6))] == [-1, -1, 0, 1, 1]


@pytest.mark.parametrize("rating", [0, 6, -1, 3.5, None, "5"])
def test_what_is_no_rating_is_refused(rating):
    with pytest.raises(ValueError, match="not one of 1 to 5"):
        rating_to_sentiment(rating)


def test_class_order_is_that_of_the_sentiments():
    assert [sentiment_to_class(sentiment) for sentiment in SENTIMENTS] == [0, 1, 2]
    assert [ID2LABEL[sentiment_to_class(s)] for s in (-1, 0, 1)] == list(CLASS_NAMES)
