"""An index that is made when the image is built, and is there when a call begins."""

import sqlite3
from dataclasses import dataclass

import mvm

INDEX = "/srv/notes.db"

mvm.workload(id="index-at-build")


@dataclass
class Note:
    name: str
    excerpt: str


@mvm.app(
    name="notes",
    image=mvm.python_image(),
    source=mvm.local_path(".", include=["*.py", "notes/*.txt"]),
    before_build=mvm.hook(["python3", "make_index.py", INDEX], timeout=120),
    before_start=["test", "-s", INDEX],
)
def search(words: str, most: int = 3) -> list[Note]:
    """The notes that have all these words, the best first."""
    with sqlite3.connect(f"file:{INDEX}?mode=ro", uri=True) as index:
        query = "SELECT name, snippet(notes, 1, '', '', '...', 6) FROM notes WHERE notes MATCH ? ORDER BY rank LIMIT ?"
        quoted = " ".join(f'"{word}"' for word in words.replace('"', " ").split())
        return [Note(*row) for row in index.execute(query, (quoted, most))]
