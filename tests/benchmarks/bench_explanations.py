"""How long an explanation takes: reviews of 85 to 91 tokens, one after the other, once loaded."""

import argparse
import time
from pathlib import Path
from statistics import median

from timing import machine, timed  # beside

from components.shared.machine.files import read_parquet
from components.shared.machine.inference import fast_precision
from components.shared.records.explainer import Explainer
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import predictions_schema
from components.shared.records.text import model_text

BAR = 2.0
TOKENS = range(85, 92)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model folder of a run")
    parser.add_argument("--predictions", type=Path, required=True, help="predictions of the run")
    parser.add_argument("--reviews", type=int, default=10, help="reviews to explain")
    options = parser.parse_args()
    import torch
    from tokenizers import Tokenizer

    schema = predictions_schema(labels_of_file(options.predictions))
    rows = read_parquet(options.predictions, schema, ["title", "review_body"]).to_pylist()
    texts = [model_text(row["title"], row["review_body"]) for row in rows]
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    texts = [text for text in texts if len(tokenizer.encode(text).ids) in TOKENS]
    started = time.perf_counter()
    explainer = Explainer(options.model)
    explainer.explain(texts[-1])
    precision, threads = fast_precision(torch.device("cpu")), torch.get_num_threads()
    print(f"{machine()}, {precision}, {threads} threads")
    print(f"loaded, with a first explanation: {time.perf_counter() - started:.1f} s")
    times = [timed(lambda text=text: explainer.explain(text)) for text in texts[: options.reviews]]
    wall, cpu = ([one[kind] for one in times] for kind in (0, 1))
    print(
        f"{len(times)} reviews of {TOKENS[0]} to {TOKENS[-1]} tokens: median {median(wall):.2f} s, "
        f"largest {max(wall):.2f} s (bar {BAR:.0f} s); CPU {median(cpu):.2f} s"
    )


if __name__ == "__main__":
    main()
