"""Sentiments, their class indices and names, and the rule that makes them from ratings."""

SENTIMENTS: tuple[int, ...] = (-1, 0, 1)
"""The sentiments in class-index order: class 0 is negative, 1 neutral, 2 positive."""

CLASS_NAMES: tuple[str, ...] = ("negative", "neutral", "positive")

ID2LABEL: dict[int, str] = dict(enumerate(CLASS_NAMES))
LABEL2ID: dict[str, int] = {name: index for index, name in ID2LABEL.items()}


def rating_to_sentiment(rating: int) -> int:
    """Sentiment (-1, 0, 1) of a rating in stars: 4 and 5 are positive, 3 neutral, 1 and 2 negative.

    Raises:
        ValueError: If the rating is not one of 1 to 5.
    """
    if rating not in (1, 2, 3, 4, 5):
        raise ValueError(f"rating {rating!r} is not one of 1 to 5")
    return (rating > 3) - (rating < 3)


def sentiment_to_class(sentiment: int) -> int:
    """Class index (0 to 2) of a sentiment (-1 to 1)."""
    return sentiment + 1
