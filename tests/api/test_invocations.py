"""Calls of declared functions."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import serving

DECLARATION = """
import mvm

mvm.workload(id="calls")

@mvm.app(name="text")
def count(text: str, least: int = 1) -> int:
    print("counting")
    if not text:
        raise ValueError("nothing to count")
    return len([word for word in text.split() if len(word) >= least])
"""


def test_a_declared_function_is_called(server: serving.Served, tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text(DECLARATION)

    def call(**request: Any) -> Any:
        return server.ask("POST", "/v1/invocations", json={"file": str(file), **request})

    returned = call(function="count", positional=["one two three"])
    assert (returned["outcome"], returned["value"]) == ("returned", 3)
    assert base64.b64decode(returned["stderr_base64"]) == b"counting\n"
    assert returned["run_id"].startswith("run-")
    assert call(app="text", arguments={"text": "one three", "least": 4})["value"] == 1
    raised = call(arguments={"text": ""})
    assert (raised["outcome"], raised["error"]["type"]) == ("raised", "ValueError")
    assert "app.py" in raised["error"]["traceback"]

    def refused(status: int, **request: Any) -> dict[str, Any]:
        return server.refused(status, "POST", "/v1/invocations", json={"file": str(file), **request})

    assert refused(400, arguments={"text": 5})["code"] == "InvalidArgument"
    assert refused(400, arguments={}, positional=[])["code"] == "InvalidArgument"
    assert refused(400, file="app.py")["code"] == "InvalidArgument"
    assert refused(404, function="total")["code"] == "NotFound"
    assert refused(404, file=str(tmp_path / "missing.py"))["code"] == "NotFound"
    file.write_text(DECLARATION.replace('"text"', "name()"))
    broken = refused(422, function="count")
    assert broken["code"] == "BuildFailed"
    assert "app.py:6" in broken["causes"][0]
    assert not server.states(), "nothing is left"
