"""Runs every scenario of `tests/conformance/scenarios.json`, blocking and with asyncio.

`MVM_CONFORMANCE_RESULTS` names a file to which a line of JSON is appended for each scenario.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

import mvm
from surfaces import SURFACES, settled

SCENARIOS = json.loads((Path(__file__).resolve().parents[3] / "tests" / "conformance" / "scenarios.json").read_text())


def record(surface: str, scenario: dict[str, Any], passed: bool) -> None:
    path = os.environ.get("MVM_CONFORMANCE_RESULTS")
    if path:
        line = {"surface": surface, "scenario": scenario["name"], "row": scenario["row"], "passed": passed}
        with open(path, "a") as results:
            results.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
async def test_scenario(surface: str, scenario: dict[str, Any]) -> None:
    runner = Runner(surface)
    passed = False
    try:
        for step in scenario["steps"]:
            await runner.step(step)
        passed = True
    finally:
        record(surface, scenario, passed)
        await runner.clean()


def options(with_: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in with_.items() if name != "resources"}
    return {**flat, **with_.get("resources", {})}


def command(fields: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    rest = {name: value for name, value in fields.items() if name not in ("argv", "shell", "timeout_ms", "terminal")}
    if "timeout_ms" in fields:
        rest["timeout"] = fields["timeout_ms"] / 1000
    if "terminal" in fields:
        rest["terminal"] = (fields["terminal"]["columns"], fields["terminal"]["rows"])
    return fields.get("argv") or fields["shell"], rest


def compare(result: mvm.CommandResult, expect: dict[str, Any]) -> None:
    seen: dict[str, Any] = {}
    for name in expect:
        if name == "stdout_bytes":
            seen[name] = len(result.stdout)
        elif name == "stdout_sha256":
            seen[name] = hashlib.sha256(result.stdout).hexdigest()
        elif name in ("stdout", "stderr"):
            seen[name] = getattr(result, f"{name}_text")
        else:
            seen[name] = getattr(result, name)
    assert seen == expect, result


class Runner:
    def __init__(self, surface: str) -> None:
        self.sandboxes, self.snapshots = SURFACES[surface]
        self.named: dict[str, Any] = {}
        self.made: list[Any] = []

    async def step(self, step: dict[str, Any]) -> None:
        act = getattr(self, f"do_{step['do']}")
        if "error" not in step:
            await act(step)
            return
        with pytest.raises(mvm.Error) as caught:
            await act(step)
        assert caught.value.code == step["error"]["code"], caught.value

    async def clean(self) -> None:
        for made in reversed(self.made):
            try:
                await settled(made.remove() if hasattr(made, "remove") else made.destroy())
            except mvm.NotFound:
                pass

    def sandbox(self, step: dict[str, Any], key: str = "in") -> Any:
        return self.named[step[key]]

    def keep(self, name: str, made: Any) -> None:
        self.named[name] = made
        self.made.append(made)

    async def do_create(self, step: dict[str, Any]) -> None:
        self.keep(step["as"], await settled(self.sandboxes.create(**options(step.get("with", {})))))

    async def do_connect(self, step: dict[str, Any]) -> None:
        self.named[step["as"]] = await settled(self.sandboxes.connect(self.sandbox(step, "of").id))

    async def do_run(self, step: dict[str, Any]) -> None:
        what, rest = command(step["command"])
        result = await settled(self.sandbox(step).commands.run(what, **rest))
        compare(result, step.get("expect", {}))
        if "as" in step:
            self.named[step["as"]] = result

    async def do_start(self, step: dict[str, Any]) -> None:
        what, rest = command(step["command"])
        process = await settled(self.sandbox(step).commands.start(what, **rest))
        self.named[step["as"]] = process
        self.named[f"sandbox of {step['as']}"] = self.sandbox(step)

    async def do_send(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "to").send_stdin(step["text"]))

    async def do_close_stdin(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").close_stdin())

    async def do_wait(self, step: dict[str, Any]) -> None:
        compare(await settled(self.sandbox(step, "of").wait(timeout=60)), step.get("expect", {}))

    async def do_kill(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").kill(step["signal"]))

    async def do_resize(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").resize(step["columns"], step["rows"]))

    async def do_reattach(self, step: dict[str, Any]) -> None:
        process = self.sandbox(step, "of")
        commands = self.named[f"sandbox of {step['of']}"].commands
        self.named[step["as"]] = await settled(commands.attach(process.id))

    async def do_write(self, step: dict[str, Any]) -> None:
        if "text" in step:
            data = step["text"].encode()
        elif "base64" in step:
            data = base64.b64decode(step["base64"])
        else:
            data = bytes([step["repeat"]["byte"]]) * step["repeat"]["count"]
        await settled(self.sandbox(step).files.write(step["path"], data))

    async def do_read(self, step: dict[str, Any]) -> None:
        data = await settled(self.sandbox(step).files.read(step["path"]))
        seen = {
            "text": data.decode,
            "base64": lambda: base64.b64encode(data).decode(),
            "bytes": lambda: len(data),
            "sha256": lambda: hashlib.sha256(data).hexdigest(),
        }
        assert {name: seen[name]() for name in step["expect"]} == step["expect"]

    async def do_list(self, step: dict[str, Any]) -> None:
        entries = await settled(self.sandbox(step).files.list(step["path"]))
        assert [entry.name for entry in entries] == step["expect"]["names"]

    async def do_stat(self, step: dict[str, Any]) -> None:
        entry = await settled(self.sandbox(step).files.stat(step["path"]))
        seen = {"kind": entry.kind, "size": entry.size, "mode": f"{entry.mode:o}"}
        assert {name: seen[name] for name in step["expect"]} == step["expect"]

    async def do_exists(self, step: dict[str, Any]) -> None:
        assert await settled(self.sandbox(step).files.exists(step["path"])) == step["expect"]

    async def do_mkdir(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step).files.mkdir(step["path"]))

    async def do_remove(self, step: dict[str, Any]) -> None:
        files = self.sandbox(step).files
        await settled(files.remove(step["path"], recursive=step.get("recursive", False)))

    async def do_rename(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step).files.rename(step["from_path"], step["to_path"]))

    async def do_pause(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").pause())

    async def do_resume(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").resume())

    async def do_cold(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").cold())

    async def do_stop(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").stop())

    async def do_destroy(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").destroy())

    async def do_set_ttl(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").set_ttl(step["seconds"]))

    async def do_detach(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").detach(step["ttl_seconds"]))

    async def do_state(self, step: dict[str, Any]) -> None:
        try:
            state = (await settled(self.sandbox(step, "of").info())).state
        except mvm.NotFound:
            state = "gone"
        assert state == step["expect"]

    async def do_snapshot(self, step: dict[str, Any]) -> None:
        self.keep(step["as"], await settled(self.sandbox(step, "of").snapshot(step.get("name"))))

    async def do_restore(self, step: dict[str, Any]) -> None:
        self.keep(step["as"], await settled(self.sandboxes.restore(self.sandbox(step, "from"))))

    async def do_fork(self, step: dict[str, Any]) -> None:
        children = await settled(self.sandbox(step, "of").fork(len(step["as"])))
        for name, child in zip(step["as"], children, strict=True):
            self.keep(name, child)

    async def do_remove_snapshot(self, step: dict[str, Any]) -> None:
        await settled(self.sandbox(step, "of").remove())

    async def do_sleep(self, step: dict[str, Any]) -> None:
        await asyncio.sleep(step["seconds"])

    async def do_receipt(self, step: dict[str, Any]) -> None:
        result = self.sandbox(step, "of")
        verdict = await settled(self.sandboxes.verify_receipt(result.receipt))
        assert verdict.valid, verdict
        assert verdict.run_id == result.run_id
