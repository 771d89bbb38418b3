"""Our model server with faults planted: `faulty_server.py FAULTS ARGUMENTS OF THE SERVER...`.

FAULTS is a JSON file: by model version, `errors` (share of the requests that fail) or `seconds`
(by which each answer comes later). A version that it does not name is served as it is.
"""

import asyncio
import json
import random
import sys
from pathlib import Path

from components.serving.__main__ import main
from components.serving.server.sentiment_model import SentimentModel
from components.shared.machine.errors import exit_in_words

faults = json.loads(Path(sys.argv.pop(1)).read_text())
predict = SentimentModel.predict
chance = random.Random(0)


async def faulty(self, *arguments, **options):
    """The model's own answer, with the version's fault."""
    fault = faults.get(self.version, {})
    await asyncio.sleep(fault.get("seconds", 0.0))
    if chance.random() < fault.get("errors", 0.0):
        raise RuntimeError("a planted fault")
    return await predict(self, *arguments, **options)


SentimentModel.predict = faulty  # type: ignore[method-assign]
exit_in_words(main)
