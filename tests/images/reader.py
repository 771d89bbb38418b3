import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Instruction(NamedTuple):
    name: str
    arguments: str


@dataclass(frozen=True)
class Dockerfile:
    """What stands before the first FROM, then the stages, each beginning with its FROM."""

    arguments: list[Instruction]
    stages: list[list[Instruction]]

    @property
    def build_stage(self):
        return self.stages[0]

    @property
    def last_stage(self):
        return self.stages[-1]

    def copied(self):
        given = [one.split() for one in in_order("COPY", *self.stages) if "--from=" not in one]
        return [(source, target) for *sources, target in given for source in sources]


def in_order(name, *stages):
    return [step.arguments for stage in stages for step in stage if step.name == name]


def labels(stage):
    return dict(re.findall(r'([\w.]+)="([^"]*)"', " ".join(in_order("LABEL", stage))))


def environment(stage):
    return dict(re.findall(r"(\w+)=(\S*)", " ".join(in_order("ENV", stage))))


def read_dockerfile(image):
    text = (ROOT / "images" / image / "Dockerfile").read_text()
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    parts: list[list[Instruction]] = [[]]
    for line in filter(str.strip, lines.splitlines()):
        step = Instruction(*line.strip().split(maxsplit=1))
        parts += [[]] if step.name == "FROM" else []
        parts[-1].append(step)
    return Dockerfile(arguments=parts[0], stages=parts[1:])
