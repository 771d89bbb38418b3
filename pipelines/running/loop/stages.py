"""What happens in a loop, chapter by chapter; each may be killed and begun again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.deployment.local.service_file import ServiceFile
from components.shared.machine.cost import read_prices
from components.shared.machine.errors import GATE_CLOSED, ROLLED_BACK, UserError
from components.shared.machine.files import read_json, read_parquet
from components.shared.records.labels import labels_of_file
from components.shared.records.payloads import read_payloads
from components.shared.records.reviews import REVIEW_SCHEMA
from pipelines.running.loop.people import password_in, review
from pipelines.running.loop.scene import Scene, given_as, until
from pipelines.running.loop.story import Chapter
from pipelines.running.loop.stream import divide

_LOG_SECONDS = 120.0


@dataclass(frozen=True)
class Cast:
    """Who takes part, and what they are given.

    Attributes:
        data: Reviews, at any URI that ingest reads.
        columns: Fields and the columns to read them from, as in a run.
        labels: The classes, as in a run.
        people: How many people review; one more always gives the same answer.
        error: How often the others err.
        items: Reviews that people are asked about in a turn.
        seed: Seed of the division, the splits and the errors.
        training: Further options of the training pipeline, as words of its command line.
    """

    data: str
    columns: str
    labels: str
    people: int
    error: float
    items: int
    seed: int
    training: Sequence[str]


@dataclass
class Stages:
    """The chapters of a loop."""

    scene: Scene
    cast: Cast

    @property
    def _history(self) -> Path:
        return self.scene.folder / "history.parquet"

    def divide(self) -> Chapter:
        """Read the reviews and divide them."""
        from components.data.ingest import ingest
        from components.shared.records.labels import LabelSet

        folder = self.scene.folder
        ingest(
            self.cast.data,
            folder / "reviews.parquet",
            folder / "quarantine.parquet",
            folder / "ingest.json",
            labels=LabelSet.parse(self.cast.labels),
            columns=self.cast.columns,
        )
        made = divide(folder / "reviews.parquet", self._history, self.scene.today, self.cast.seed)
        words = f"{made.history:,} reviews to train on, {made.today:,} to be asked about"
        return Chapter("", "", f"{words}. {made.sentence}.", asdict(made))

    def train(self) -> Chapter:
        """Train the first model."""
        run = self.scene.run("training", *self._training())
        scores = read_json(run / "evaluate-classifier" / "evaluation_summary")["scores"]
        version = read_json(run / "register-model" / "registration")["version"]
        figures = {name: scores[name] for name in ("macro_f1", "accuracy")}
        words = f"version {version}: macro-F1 {_estimate(scores['macro_f1'])} on its test split"
        page = str((run / "report.html").relative_to(self.scene.folder))
        return Chapter("", "", words, figures | {"version": version} | _price(run), page)

    def serve(self) -> Chapter:
        """Let the first model serve, with a log of its answers."""
        run = self.scene.run("rollout", "--version", "champion", *self._service())
        record = read_json(run / "roll-out-model" / "rollout")
        words = f"version {record['version']} serves; its answers are logged"
        return Chapter("", "", words, _price(run))

    def ask(self, file: ServiceFile) -> Chapter:
        """Let clients ask about each of today's reviews, more than once on average."""
        rows = read_parquet(self.scene.today, REVIEW_SCHEMA, ["review_id"]).num_rows
        began = datetime.now(UTC)
        with self.scene.clients(file) as count:
            until(lambda: count.answered >= rows + 50, 10 * rows / self.scene.rate)
        if count.failed:
            raise UserError(f"{count.failed} of {count.sent} requests failed; see the site's log")

        def logged() -> int:
            try:
                return read_payloads(str(self.scene.log), columns=["time"]).num_rows
            except UserError:
                return 0  # the server has not written yet

        until(lambda: logged() >= rows, _LOG_SECONDS)
        seconds = (datetime.now(UTC) - began).total_seconds()
        words = f"{count.answered:,} answers in {seconds:.0f} s, {logged():,} of them logged so far"
        return Chapter("", "", words, {"answers": count.answered, "logged": logged()})

    def turn(self, number: int) -> Chapter:
        """One turn of the loop pipeline: review, monitor, decide, perhaps retrain and roll out."""
        story = self.scene.folder.name
        settings = {"items": self.cast.items, "seed": self.cast.seed}
        run = self.scene.run(
            "loop",
            *("--log-uri", str(self.scene.log), *self._training(), *self._service()),
            *("--min-rows", "300", "--occasion", f"{story}-turn-{number}"),
            *("--review", *given_as(settings)),
            *("--trigger", *given_as({"least_labels": 30})),
            may_end=(0, GATE_CLOSED, ROLLED_BACK),
        )
        return read_turn(run, self.scene.folder)

    def vote(self) -> Chapter:
        """Let simulated people answer what they are shown by the real service."""
        from components.review.label_studio.client import connect
        from components.review.options import ReviewOptions
        from components.review.simulated import SimulatedPerson

        labels = labels_of_file(self.scene.today)
        truth: dict[str, str] = {}
        for file in (self._history, self.scene.today):
            table = read_parquet(file, REVIEW_SCHEMA, ["review_id", "sentiment"])
            names = [labels.names[i] for i in labels.index_of(table["sentiment"].to_numpy())]
            truth |= dict(zip(table["review_id"].to_pylist(), names, strict=True))
        client = connect(self.scene.state)
        client.wait()
        project = client.ensure_project(labels, ReviewOptions().people)
        people = [
            *(SimulatedPerson(f"person-{n + 1}", self.cast.error) for n in range(self.cast.people)),
            SimulatedPerson("hasty", always=labels.names[-1]),
        ]
        password = password_in(self.scene.folder / "reviewers.password")
        votes = review(client, project, labels, people, truth, password, self.cast.seed)
        words = (
            f"{votes:,} votes of {len(people)} people through Label Studio: {self.cast.people} err "
            f"in {100 * self.cast.error:g} % of the reviews, one always says {labels.names[-1]}"
        )
        price = read_prices().of_review(votes, people[0].seconds)
        return Chapter("", "", words, {"votes": votes, "people": len(people), "price": price})

    def _training(self) -> list[str]:
        given = ["--data-uri", str(self._history), "--labels", self.cast.labels]
        return [*given, "--seed", str(self.cast.seed), *self.cast.training]

    def _service(self) -> list[str]:
        service = {"payload_uri": str(self.scene.log), "server_arguments": ["--keep-texts"]}
        # Few test reviews and a changed traffic: what counts as worse is set wider.
        pace = {"steps": "25,100", "look_every_seconds": 5, "accuracy": 0.1, "class_share": 0.3}
        return ["--service", *given_as(service), "--options", *given_as(pace)]


def read_turn(run: Path, folder: Path) -> Chapter:
    """The chapter of a turn, from what its steps wrote."""
    seen = read_json(run / "monitor-answers" / "monitoring_summary")
    decision = read_json(run / "decide-retraining" / "decision")
    votes = read_json(run / "resolve-review-votes" / "votes_summary")
    figures: dict[str, Any] = {
        "verdict": seen["verdict"],
        "live_accuracy": seen["live_accuracy"],
        "test_accuracy": seen["test_accuracy"],
        "labels": votes["states"]["resolved"],
        "action": decision["action"],
    } | _price(run)
    words = f"{seen['verdict']}; {decision['action']}: {decision['reason']}"
    evaluation, rollout = (
        run / "evaluate-classifier" / "evaluation_summary",
        run / "roll-out-model" / "rollout",
    )
    if evaluation.exists():
        content = read_json(evaluation)
        figures["macro_f1"] = content["scores"]["macro_f1"]
        figures["champion"] = content.get("champion")
        figures["gate"] = content["gate"]["passed"] if "gate" in content else None
    if rollout.exists():
        record = read_json(rollout)
        figures["rollout"] = {name: record[name] for name in ("decision", "version", "reason")}
        ended = "was rolled back" if record["decision"] == "roll_back" else "serves now"
        words += f" Version {record['version']} {ended}"
    pages = (run / "report.html", run / "pages" / "monitor-answers.html")
    page = next((str(one.relative_to(folder)) for one in pages if one.exists()), "")
    return Chapter("", "", words, figures, page)


def _price(run: Path) -> dict[str, float]:
    """What a run cost, as a figure of its chapter."""
    return {"price": read_json(run / "run.json")["price"]}


def _estimate(score: dict[str, float]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
