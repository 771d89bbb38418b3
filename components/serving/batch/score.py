"""Score a file of reviews into a folder of predictions; killed and started again, it goes on."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.serving.batch.job import (
    MANIFEST,
    SUMMARY,
    Job,
    engine_of_earlier_try,
    is_done,
    own_folder,
    write_manifest,
)
from components.serving.batch.shard import AT_ONCE, ShardScorer
from components.serving.model.engine import AUTO
from components.shared.machine.files import read_json, write_json
from components.shared.records.model_folder import read_class_names

if TYPE_CHECKING:
    from tqdm import tqdm

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What a way of computing gets: the shards that are left, and where everything is."""

    reviews: Path
    model_folder: Path
    folder: Path
    job: Job
    shards: Sequence[int]
    engine: str

    def arguments(self, shard: int) -> tuple[str, int, str]:
        """Those of `ShardScorer.score_shard`."""
        return str(self.reviews), shard, str(self.job.part(self.folder, shard))

    def begin(self, engine: str) -> None:
        """Write the manifest, before anything is scored by the engine that was chosen."""
        if not (self.folder / MANIFEST).is_file():
            write_manifest(self.folder, self.job, engine)

    def bar(self) -> "tqdm":
        """Progress with rate and time left, over the reviews that are left."""
        from tqdm import tqdm

        return tqdm(total=sum(self.job.rows[shard] for shard in self.shards), unit=" reviews")


@dataclass(frozen=True)
class Summary:
    """What was scored, and what came of it."""

    reviews: int
    labels: dict[str, int]  # reviews by label
    truncated: int  # reviews whose text was cut
    model_name: str
    model_version: str
    model_digest: str
    engine: str
    shards: int
    shards_before: int  # those that an earlier try had done
    seconds: float  # of this try
    reviews_per_second: float  # of this try, loading included; 0 where nothing was left to do


Compute = Callable[[Work], None]
"""Loads the model, begins the work, and scores the shards that are left."""


def score_reviews(
    reviews: str | Path,
    model_folder: str | Path,
    folder: str | Path,
    *,
    model_name: str,
    model_version: str,
    engine: str = AUTO,
    compute: Compute | None = None,
) -> Summary:
    """Write the predictions of all reviews of a file to a folder, and `_summary.json` beside them.

    Args:
        reviews: Parquet in `TO_SCORE_SCHEMA`; each row group is a shard.
        model_folder: A complete model folder.
        folder: Gets the predictions, a file for each shard in `scored_schema`. What an earlier try
            of the same job has written there is kept.
        model_name: Registered model.
        model_version: Its version.
        engine: As `load_engine` takes it; one that began the job goes on with it.
        compute: How; `on_this_machine` where None.

    Raises:
        UserError: If the reviews or the model cannot be read, or the folder holds another job's
            predictions, or other files.
    """
    reviews, model_folder, folder = Path(reviews), Path(model_folder), Path(folder)
    with own_folder(folder):
        started = time.perf_counter()
        job = Job.of(reviews, model_folder, model_name, model_version)
        engine = engine_of_earlier_try(folder, job, engine, AUTO)
        every = range(len(job.rows))
        left = [n for n in every if not is_done(job.part(folder, n), job.rows[n])]
        to_do = sum(job.rows[shard] for shard in left)
        if len(left) < len(every):
            logger.info("%d of %d reviews are scored already", sum(job.rows) - to_do, sum(job.rows))
        seconds = 0.0
        if left:
            work = Work(reviews, model_folder, folder, job, left, engine)
            before = time.perf_counter()
            (compute or on_this_machine)(work)
            seconds = time.perf_counter() - before
        names = read_class_names(model_folder)
        summary = Summary(
            reviews=sum(job.rows),
            **_counts(folder, job, names),
            model_name=model_name,
            model_version=model_version,
            model_digest=job.model["digest"],
            engine=read_json(folder / MANIFEST)["engine"],
            shards=len(every),
            shards_before=len(every) - len(left),
            seconds=round(time.perf_counter() - started, 2),
            reviews_per_second=round(to_do / seconds, 1) if left else 0.0,
        )
        write_json(folder / SUMMARY, asdict(summary))
    return summary


def on_this_machine(work: Work) -> None:
    """Score shards in this process: the engine's streams share one copy of the weights."""
    scorer = ShardScorer(str(work.model_folder), work.job.model, work.engine)
    work.begin(scorer.engine())
    score_shards(scorer, work)


def score_shards(scorer: ShardScorer, work: Work) -> None:
    """Score the shards that are left with a loaded model, two at once."""
    with work.bar() as bar, ThreadPoolExecutor(AT_ONCE, "shard") as threads:

        def on_scored(reviews: int) -> None:
            with bar.get_lock():
                bar.update(reviews)

        under_way = [
            threads.submit(scorer.score_shard, *work.arguments(shard), on_scored)
            for shard in work.shards
        ]
        try:
            for done in as_completed(under_way):
                done.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            scorer.close()
            raise


def _counts(folder: Path, job: Job, names: tuple[str, ...]) -> dict[str, int | dict[str, int]]:
    """Labels and cut texts of all shards, one after the other."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    labels: Counter[str] = Counter()
    truncated = 0
    for shard in range(len(job.rows)):
        table = pq.ParquetFile(job.part(folder, shard)).read(columns=["label", "truncated"])
        counted = pc.value_counts(table["label"].combine_chunks())
        for label, count in zip(*(counted.field(i).to_pylist() for i in (0, 1)), strict=True):
            labels[label] += count
        truncated += pc.sum(table["truncated"]).as_py() or 0
    return {"labels": {name: labels[name] for name in names}, "truncated": truncated}
