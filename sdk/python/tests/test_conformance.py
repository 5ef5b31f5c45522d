"""Every conformance scenario, on both surfaces."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from scenario import Scenario

SCENARIOS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "tests" / "conformance" / "scenarios.json").read_text()
)


@pytest.mark.parametrize("surface", ["python", "python-async"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_scenario(surface: str, scenario: dict[str, Any]) -> None:
    passed = False
    try:
        asyncio.run(Scenario(asynchronous=surface == "python-async").run(scenario["steps"]))
        passed = True
    finally:
        results = os.environ.get("MVM_CONFORMANCE_RESULTS")
        if results:
            line = {
                "surface": surface,
                "scenario": scenario["name"],
                "row": scenario["row"],
                "passed": passed,
            }
            with open(results, "a") as file:
                file.write(json.dumps(line) + "\n")
