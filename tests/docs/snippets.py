"""The fenced blocks of the pages in docs/sdk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What declares something is compiled, not run: host/mvm-compiler/tests/documentation.rs.
DECLARATIONS = {"declaration-cookbook.md", "decorator-sdk.md"}
PAGES = sorted(page for page in (ROOT / "docs" / "sdk").glob("*.md") if page.name not in DECLARATIONS)
# What a block is run as. `console` and `text` are for what is read, not run.
LANGUAGES = {"python": "python", "typescript": "typescript", "ts": "typescript", "rust": "rust", "shell": "shell"}
READ_ONLY = {"text", "json", "console"}
_FENCE = re.compile(r"^```(\S*)[ ]*([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """A block, and where it is."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.stem.replace('-', '_')}_{self.line}"


def snippets(page: Path) -> list[Snippet]:
    """All blocks of a page that has a language, which must be one that is known."""
    text = page.read_text()
    found: list[Snippet] = []
    for match in _FENCE.finditer(text):
        # Rust's compiler reads its own words: `rust,no_run`.
        language, *attributes = match[1].split(",")
        line = text.count("\n", 0, match.start()) + 1
        if language in READ_ONLY:
            continue
        assert language in LANGUAGES, f"{page.name}:{line}: `{language}` is no language of these pages"
        assert not attributes or (language, attributes) == ("rust", ["no_run"]), f"{page.name}:{line}"
        # A block that cannot be run would say so here, with its reason; so far each can.
        assert not match[2], f"{page.name}:{line}: `{match[2]}` is no reason not to run a block"
        found.append(Snippet(page, line, LANGUAGES[language], match[3]))
    return found


ALL = [snippet for page in PAGES for snippet in snippets(page)]


def of(language: str) -> list[Snippet]:
    """The blocks that are run as this language."""
    return [snippet for snippet in ALL if snippet.language == language]
