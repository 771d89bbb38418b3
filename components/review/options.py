"""What can be set about who is asked, how many people, and when a label is sure enough."""

from dataclasses import dataclass

from components.shared.machine.cost import read_prices
from components.shared.machine.errors import UserError
from components.shared.machine.options import Options, option
from components.shared.records.review_items import AUDIT, LABEL_NOISE, QUEUES, UNCERTAIN


@dataclass(frozen=True)
class ReviewOptions(Options, called="review option"):
    """Options of a review, from the drawing of the items to the resolved labels."""

    items: int = option(200, "reviews to ask about in one run, on average", 1, 1_000_000)
    uncertain: float = option(0.5, "share of them where the model is unsure", 0, 1)
    label_noise: float = option(0.3, "share of them whose label is in doubt", 0, 1)
    audit: float = option(0.2, "share of them drawn by chance alone", 0, 1)
    threshold: float = option(
        0.0, "confidence below which an answer is uncertain; 0 takes it from the table", 0, 1
    )
    people: int = option(3, "people who see each item", 1, 20)
    extra: int = option(2, "people more who are asked about an item in doubt, at most", 0, 20)
    agreement: float = option(0.7, "least share of an item's votes for its label", 0.5, 1)
    certainty: float = option(0.9, "least probability of a label, after the votes", 0.5, 1)
    error: float = option(
        0.05, "how often a reviewer errs, where votes are too few to tell", 0, 0.5
    )
    seconds: float = option(15.0, "working time of one vote, where the service gives none", 0, 3600)
    wage: float = option(
        0.0, "price of a reviewer's hour; 0 takes that of the table of prices", 0, 10_000
    )
    seed: int = option(42, "seed of the draws", 0, 2**31 - 1)

    def __post_init__(self) -> None:
        """Check each value, and that the shares are of one whole."""
        super().__post_init__()
        object.__setattr__(self, "wage", self.wage or read_prices().person_hour)
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            named = " + ".join(f"{share:g} {queue}" for queue, share in self.shares.items())
            raise UserError(f"the shares of the review's queues are {named}; make them add up to 1")

    @property
    def shares(self) -> dict[str, float]:
        """Share of the items by queue."""
        return {UNCERTAIN: self.uncertain, LABEL_NOISE: self.label_noise, AUDIT: self.audit}

    def expected(self, queue: str) -> float:
        """Items that a queue may hold, on average."""
        assert queue in QUEUES  # noqa: S101 - names are constants
        return self.items * self.shares[queue]

    def price(self, votes: float, seconds: float | None = None) -> float:
        """What a number of votes costs."""
        return votes * (self.seconds if seconds is None else seconds) / 3600 * self.wage
