"""What docs/sdk/errors-and-metrics.md lists is what there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import get_args

import mvm
import pytest
from mvm.model import SandboxState
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import serving
from snippets import ROOT

PAGE = (ROOT / "docs" / "sdk" / "errors-and-metrics.md").read_text()
CODES = {kind.code: kind for kind in mvm.Error.__subclasses__()}


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a row that begins so."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    table: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def test_every_code_is_there_once() -> None:
    assert [row[0].strip("`") for row in rows("code")] == [
        *("CommandFailed", "Timeout", "PolicyDenied", "AdmissionFailed", "BuildFailed", "SandboxUnavailable"),
        *("BackendUnsupported", "SnapshotMismatch", "CleanupFailed", "InvalidArgument", "NotFound", "TransportError"),
    ]
    assert {row[0].strip("`") for row in rows("code")} == CODES.keys()


def test_the_codes_are_those_of_the_contract() -> None:
    source = (ROOT / "contract" / "mvm-contract" / "src" / "error_code.rs").read_text()
    named = re.findall(r'^            Self::(\w+) => "(\w+)",$', source, re.MULTILINE)
    assert {name for name, _ in named} == CODES.keys()
    again = re.search(r"fn retryable.*?matches!\((.*?)\)\n", source, re.DOTALL)
    assert again is not None
    retryable = set(re.findall(r"Self::(\w+)", again[1]))
    assert {row[0].strip("`") for row in rows("code") if row[2] == "yes"} == retryable


def test_every_code_has_an_example_or_says_that_it_has_none() -> None:
    examples = PAGE[PAGE.index("## How each comes about") : PAGE.index("## Metrics")]
    assert {code for code in CODES if code not in examples} == set()


def test_the_metrics_are_those_of_a_server(tmp_path: Path) -> None:
    server = serving.start(tmp_path / "server")
    try:
        with server.leased() as sandbox:
            server.shell(sandbox, "true")
            families = list(text_string_to_metric_families(server.client.get("/metrics").text))
    finally:
        server.end()
    found = {
        (family.name, family.type): {label for sample in family.samples for label in sample.labels} - {"le"}
        for family in families
    }
    listed = {
        (row[0].strip("`").removesuffix("_total"), row[1]): {
            label for label in re.findall(r"`(\w+)`", row[3]) if label not in ("made", "failed", "succeeded")
        }
        for row in rows("metric")
    }
    assert found == listed


@pytest.mark.parametrize("profile", ["standard", "restrictive", "dev", "production"])
def test_profiles_that_pages_name_are_there(profile: str) -> None:
    subprocess.run([serving.mvmctl(), "policy", "explain", profile], check=True, capture_output=True)


def test_states_that_are_documented_are_those_of_the_sdk() -> None:
    document = serving.document(ROOT / "docs" / "reference" / "openapi.json")
    said = document["components"]["schemas"]["SandboxShape"]["properties"]["state"]["description"]
    assert set(re.findall(r"`(\w+)`", said)) <= set(get_args(SandboxState))
