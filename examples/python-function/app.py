"""A function that runs here as any other, and in a microVM of its own."""

import re
from collections import Counter
from dataclasses import dataclass

import mvm

mvm.workload(id="python-function")


@dataclass
class Word:
    text: str
    times: int


@mvm.app(name="words", image=mvm.python_image(), source=mvm.local_path(".", include=["app.py"]))
def most_frequent(text: str, count: int = 3) -> list[Word]:
    """The words that a text has most often; of those that it has as often, the first ones."""
    found = Counter(re.findall(r"\w+", text.lower()))
    return [Word(word, times) for word, times in found.most_common(count)]
