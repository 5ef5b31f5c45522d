"""Real servers over real microVMs: `MVM_MVMCTL` names mvmctl, `MVM_HOME` a state directory that was set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import serving

Serve = Callable[..., serving.Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers that end with the test."""
    started: list[serving.Served] = []

    def start(*options: str, **place: Any) -> serving.Served:
        started.append(serving.start(tmp_path / f"server-{len(started)}", options, **place))
        return started[-1]

    yield start
    for served in started:
        served.end()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Served]:
    """One over TCP that the tests share which do not end it."""
    served = serving.start(tmp_path_factory.mktemp("shared"), tcp=True)
    yield served
    assert served.end() == 0
