"""Runs one conformance scenario (`tests/conformance/README.md`) on either surface."""

from __future__ import annotations

import base64
import hashlib
import inspect
import time
from collections.abc import Callable
from typing import Any

import mvm
from mvm import (
    AsyncSandbox,
    AsyncSnapshot,
    Sandbox,
    Snapshot,
    async_verify_receipt,
    verify_receipt,
)

Step = dict[str, Any]


async def settled(value: Any) -> Any:
    """What a call of the synchronous surface gives, or what one of the other comes to."""
    return await value if inspect.isawaitable(value) else value


class Scenario:
    """The things that a scenario has named so far."""

    def __init__(self, *, asynchronous: bool) -> None:
        self.sandboxes: Any = AsyncSandbox if asynchronous else Sandbox
        self.snapshots: Any = AsyncSnapshot if asynchronous else Snapshot
        self.verify_receipt: Any = async_verify_receipt if asynchronous else verify_receipt
        self.named: dict[str, Any] = {}

    async def run(self, steps: list[Step]) -> None:
        try:
            for number, step in enumerate(steps):
                await self.take(number, step)
        finally:
            for thing in self.named.values():
                if isinstance(thing, self.sandboxes):
                    try:
                        await settled(thing.destroy())
                    except mvm.Error:
                        continue

    async def take(self, number: int, step: Step) -> None:
        verb: Callable[[Step], Any] = getattr(self, "do_" + step["do"])
        expected = step.get("error")
        try:
            await verb(step)
        except mvm.Error as error:
            if expected is None or error.code != expected["code"]:
                raise AssertionError(f"step {number} {step}: {error.code}: {error}") from error
            return
        assert expected is None, f"step {number} {step} did not fail"

    def name(self, step: Step, thing: Any) -> None:
        if "as" in step:
            self.named[step["as"]] = thing

    async def do_create(self, step: Step) -> None:
        options: dict[str, Any] = {**step.get("with", {})}
        options |= options.pop("resources", {})
        self.name(step, await settled(self.sandboxes.create(**options)))

    async def do_connect(self, step: Step) -> None:
        of = self.named[step["of"]]
        identity = of if isinstance(of, str) else of.id
        self.name(step, await settled(self.sandboxes.connect(identity)))

    @staticmethod
    def options(command: Step) -> tuple[Any, dict[str, Any]]:
        options: dict[str, Any] = dict(command)
        line = options.pop("argv", None)
        line = options.pop("shell") if line is None else line
        if "timeout_ms" in options:
            options["timeout"] = options.pop("timeout_ms") / 1000
        if "grace_ms" in options:
            options["grace"] = options.pop("grace_ms") / 1000
        if "terminal" in options:
            terminal = options["terminal"]
            options["terminal"] = (terminal["columns"], terminal["rows"])
        return line, options

    async def do_run(self, step: Step) -> None:
        line, options = self.options(step["command"])
        result = await settled(self.named[step["in"]].commands.run(line, **options))
        self.check(result, step.get("expect", {}))
        self.name(step, result)

    async def do_start(self, step: Step) -> None:
        line, options = self.options(step["command"])
        process = await settled(self.named[step["in"]].commands.start(line, **options))
        process.sandbox = self.named[step["in"]]
        self.name(step, process)

    async def do_send(self, step: Step) -> None:
        await settled(self.named[step["to"]].send_stdin(step["text"]))

    async def do_close_stdin(self, step: Step) -> None:
        await settled(self.named[step["of"]].close_stdin())

    async def do_wait(self, step: Step) -> None:
        self.check(await settled(self.named[step["of"]].wait()), step.get("expect", {}))

    async def do_kill(self, step: Step) -> None:
        await settled(self.named[step["of"]].kill(step["signal"]))

    async def do_resize(self, step: Step) -> None:
        await settled(self.named[step["of"]].resize(step["columns"], step["rows"]))

    async def do_reattach(self, step: Step) -> None:
        process = self.named[step["of"]]
        again = await settled(process.sandbox.commands.attach(process.id))
        again.sandbox = process.sandbox
        assert again.run_id == process.run_id
        self.name(step, again)

    def check(self, result: Any, expect: Step) -> None:
        found = {
            "exit_code": result.exit_code,
            "stdout": result.stdout_text,
            "stderr": result.stderr_text,
            "stdout_bytes": len(result.stdout),
            "stdout_sha256": hashlib.sha256(result.stdout).hexdigest(),
            "timed_out": result.timed_out,
            "truncated": result.truncated,
        }
        assert {name: found[name] for name in expect} == expect
        assert result.run_id.startswith("run-") and result.audit_id

    async def do_write(self, step: Step) -> None:
        if "text" in step:
            content = step["text"].encode()
        elif "base64" in step:
            content = base64.b64decode(step["base64"])
        else:
            content = bytes([step["repeat"]["byte"]]) * step["repeat"]["count"]
        written = await settled(self.named[step["in"]].files.write(step["path"], content))
        assert written == len(content)

    async def do_read(self, step: Step) -> None:
        content = await settled(self.named[step["in"]].files.read(step["path"]))
        found = {
            "text": content.decode(errors="replace"),
            "base64": base64.b64encode(content).decode(),
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        expect = step.get("expect", {})
        assert {name: found[name] for name in expect} == expect

    async def do_list(self, step: Step) -> None:
        entries = await settled(self.named[step["in"]].files.list(step["path"]))
        if "expect" in step:
            assert [entry.name for entry in entries] == step["expect"]["names"]

    async def do_stat(self, step: Step) -> None:
        entry = await settled(self.named[step["in"]].files.stat(step["path"]))
        found = {"kind": entry.kind, "size": entry.size, "mode": f"{entry.mode:o}"}
        expect = step.get("expect", {})
        assert {name: found[name] for name in expect} == expect

    async def do_exists(self, step: Step) -> None:
        exists = await settled(self.named[step["in"]].files.exists(step["path"]))
        assert exists is step["expect"]

    async def do_mkdir(self, step: Step) -> None:
        await settled(self.named[step["in"]].files.mkdir(step["path"]))

    async def do_remove(self, step: Step) -> None:
        recursive = step.get("recursive", False)
        await settled(self.named[step["in"]].files.remove(step["path"], recursive=recursive))

    async def do_rename(self, step: Step) -> None:
        files = self.named[step["in"]].files
        await settled(files.rename(step["from_path"], step["to_path"]))

    async def do_pause(self, step: Step) -> None:
        await settled(self.named[step["of"]].pause())

    async def do_resume(self, step: Step) -> None:
        await settled(self.named[step["of"]].resume())

    async def do_cold(self, step: Step) -> None:
        await settled(self.named[step["of"]].cold())

    async def do_stop(self, step: Step) -> None:
        await settled(self.named[step["of"]].stop())

    async def do_destroy(self, step: Step) -> None:
        await settled(self.named[step["of"]].destroy())

    async def do_set_ttl(self, step: Step) -> None:
        await settled(self.named[step["of"]].set_ttl(step["seconds"]))

    async def do_detach(self, step: Step) -> None:
        await settled(self.named[step["of"]].detach(ttl_seconds=step["ttl_seconds"]))

    async def do_state(self, step: Step) -> None:
        try:
            state = (await settled(self.named[step["of"]].info())).state
        except mvm.NotFound:
            state = "gone"
        assert state == step["expect"]

    async def do_snapshot(self, step: Step) -> None:
        self.name(step, await settled(self.named[step["of"]].snapshot(name=step.get("name"))))

    async def do_restore(self, step: Step) -> None:
        snapshot = self.named[step["from"]]
        self.name(step, await settled(self.sandboxes.restore(snapshot.id)))

    async def do_fork(self, step: Step) -> None:
        children = await settled(self.named[step["of"]].fork(len(step["as"])))
        for name, child in zip(step["as"], children, strict=True):
            if isinstance(child, mvm.Error):
                raise child
            self.named[name] = child

    async def do_remove_snapshot(self, step: Step) -> None:
        await settled(self.snapshots.remove(self.named[step["of"]].id))

    async def do_sleep(self, step: Step) -> None:
        time.sleep(step["seconds"])

    async def do_receipt(self, step: Step) -> None:
        result = self.named[step["of"]]
        verdict = await settled(self.verify_receipt(result.receipt))
        assert verdict.valid and verdict.run_id == result.run_id
        assert not (await settled(self.verify_receipt(result.receipt[:-9]))).valid
