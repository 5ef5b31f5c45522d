"""Writes the notes into an index; run once, in a microVM, when the image is built."""

import sqlite3
import sys
from pathlib import Path


def main(target: str) -> None:
    notes = [(note.stem, note.read_text().strip()) for note in sorted(Path("notes").glob("*.txt"))]
    with sqlite3.connect(target) as index:
        index.execute("CREATE VIRTUAL TABLE notes USING fts5(name UNINDEXED, text)")
        index.executemany("INSERT INTO notes VALUES (?, ?)", notes)
    print(len(notes), "notes in", target)


if __name__ == "__main__":
    main(sys.argv[1])
