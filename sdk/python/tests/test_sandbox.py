"""Each method of a sandbox, on both interfaces, against a real microVM."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import mvm
from surfaces import SURFACES, collected, settled

pytestmark = pytest.mark.parametrize("surface", SURFACES)


@asynccontextmanager
async def made(surface: str, **options: Any) -> AsyncIterator[Any]:
    sandbox = await settled(SURFACES[surface][0].create(**options))
    try:
        yield sandbox
    finally:
        try:
            await settled(sandbox.destroy())
        except mvm.NotFound:
            pass


async def test_records_and_listing(surface: str) -> None:
    stages: list[str] = []
    async with made(surface, memory_mib=320, environment={"A": "b"}, on_progress=stages.append) as sandbox:
        info = await settled(sandbox.info())
        assert (info.state, info.ownership, info.resources.memory_mib) == ("running", "leased", 320)
        assert sandbox.id in [item.id for item in await settled(SURFACES[surface][0].list())]
        assert (await settled(sandbox.metrics())).memory_bytes > 0
        await settled(sandbox.commands.run("echo said by the guest > /dev/kmsg"))
        # Follows: the guest hands its messages on within a few seconds.
        assert await collected(sandbox.logs(follow=True), until=lambda text: "said by the guest" in text)
        assert "said by the guest" in "".join(await collected(sandbox.logs()))
        assert (await settled(SURFACES[surface][0].host())).default_image == info.image
        assert (await settled(sandbox.set_ttl(100))).expires_at_ms is not None
        assert (await settled(sandbox.set_ttl(None))).expires_at_ms is None
        assert await settled(sandbox.stop()) is True
        assert await settled(sandbox.stop()) is False


async def test_a_name_is_found(surface: str) -> None:
    async with made(surface, name=f"named-{surface}-{os.getpid()}") as sandbox:
        again = await settled(SURFACES[surface][0].connect(sandbox.name))
        assert again.id == sandbox.id
        with pytest.raises(mvm.InvalidArgument) as caught:
            await settled(SURFACES[surface][0].create(name=sandbox.name))
        assert caught.value.hint


async def test_plan_and_refusals(surface: str) -> None:
    sandboxes = SURFACES[surface][0]
    plan = await settled(sandboxes.plan(memory_mib=512))
    assert plan.digest.startswith("sha256:")
    assert plan.plan
    with pytest.raises(mvm.BackendUnsupported, match="network"):
        await settled(sandboxes.create(network={"allow": []}))
    with pytest.raises(mvm.InvalidArgument, match="memory_gib"):
        await settled(sandboxes.create(memory_gib=1))
    with pytest.raises(mvm.PolicyDenied):
        await settled(sandboxes.create(profile="production"))
    with pytest.raises(mvm.NotFound):
        await settled(sandboxes.connect("there-is-none"))
    with pytest.raises(mvm.NotFound):
        await settled(sandboxes.restore("there-is-none"))


async def test_run(surface: str) -> None:
    async with made(surface) as sandbox:
        run = sandbox.commands.run
        result = await settled(run(["sh", "-c", "echo out; echo err >&2; exit 3"]))
        assert (result.exit_code, result.stdout, result.stderr_text) == (3, b"out\n", "err\n")
        assert result.run_id
        assert result.audit_id
        with pytest.raises(mvm.CommandFailed) as caught:
            await settled(run("echo why >&2; exit 3", check=True))
        assert caught.value.result.exit_code == 3
        assert "why" in str(caught.value)
        assert (await settled(run("sleep 20", timeout=0.2))).timed_out
        cut = await settled(run("head -c 5000 /dev/zero", output_limit_bytes=1000))
        assert (len(cut.stdout), cut.truncated) == (1000, True)
        assert (await settled(run(["cat"], stdin="text"))).stdout == b"text"


async def test_run_with_callbacks(surface: str) -> None:
    async with made(surface) as sandbox:
        seen: list[bytes] = []
        wrong: list[bytes] = []
        result = await settled(
            sandbox.commands.run(
                "cat; echo err >&2", stdin=b"in", on_stdout=seen.append, on_stderr=wrong.append, receipt=True
            )
        )
        assert (b"".join(seen), b"".join(wrong)) == (b"in", b"err\n")
        assert (result.stdout, result.stderr) == (b"in", b"err\n")
        verdict = await settled(SURFACES[surface][0].verify_receipt(result.receipt))
        assert (verdict.valid, verdict.run_id) == (True, result.run_id)
        verdict = await settled(SURFACES[surface][0].verify_receipt(result.receipt[:-40] + b"A" * 40))
        assert not verdict.valid
        assert verdict.flaw


async def test_much_standard_input(surface: str) -> None:
    async with made(surface) as sandbox:
        data = bytes(range(256)) * 12000
        result = await settled(sandbox.commands.run(["cat"], stdin=data))
        assert result.stdout == data
        unread = await settled(sandbox.commands.run(["true"], stdin=data))
        assert unread.exit_code == 0


async def test_process(surface: str) -> None:
    async with made(surface) as sandbox:
        process = await settled(sandbox.commands.start(["cat"], stdin=True))
        assert process.pid > 1
        assert await settled(process.poll()) is None
        with pytest.raises(mvm.Timeout):
            await settled(process.wait(timeout=0.1))
        await settled(process.send_stdin("héllo\n"))
        first = (await collected(process, limit=1))[0]
        assert (first.stream, first.data.decode()) == ("stdout", "héllo\n")
        assert process.stdout_offset == len("héllo\n".encode())
        assert process.id in [item.id for item in await settled(sandbox.commands.list())]
        await settled(process.send_stdin(b"more\n"))
        await settled(process.close_stdin())
        result = await settled(process.wait(timeout=20))
        assert (result.exit_code, result.stdout, result.run_id) == (0, b"more\n", process.run_id)
        assert (await settled(process.poll())).exit_code == 0
        await settled(process.kill())  # it has ended: nothing to do
        again = await settled(sandbox.commands.attach(process.id, stdout_offset=7))
        assert (await settled(again.wait(timeout=20))).stdout == b"more\n"


async def test_ends_of_processes(surface: str) -> None:
    async with made(surface) as sandbox:
        process = await settled(sandbox.commands.start(["sleep", "60"]))
        await settled(process.terminate())
        result = await settled(process.wait(timeout=20))
        assert (result.exit_code, result.signal) == (143, 15)
        held = await settled(sandbox.commands.start("sleep 61"))
        await settled(held.close())
        detached = await settled(sandbox.commands.start("sleep 62", detached=True))
        await settled(detached.close())
        await settled(sandbox.commands.run("sleep 0.5"))
        running = [item.id for item in await settled(sandbox.commands.list()) if item.result is None]
        assert running == [detached.id]


async def test_text_of_a_process(surface: str) -> None:
    async with made(surface) as sandbox:
        line = r"printf '\303'; sleep 0.2; printf '\274\n\377'; printf '\342\202'"
        process = await settled(sandbox.commands.start(line))
        text = "".join(piece.text for piece in await collected(process.text()))
        assert text == "ü\n\ufffd\ufffd"


async def test_terminal(surface: str) -> None:
    async with made(surface) as sandbox:
        process = await settled(sandbox.commands.start("stty size; read x; stty size", stdin=True, terminal=(80, 24)))
        assert (await collected(process, limit=1))[0].data.startswith(b"24 80")
        await settled(process.resize(120, 40))
        await settled(process.send_stdin("\n"))
        assert b"40 120" in (await settled(process.wait(timeout=20))).stdout


async def test_files(surface: str) -> None:
    async with made(surface) as sandbox:
        files = sandbox.files
        assert await settled(files.write("/root/a/b", b"0123456789", mode=0o640)) == 10
        entry = await settled(files.stat("/root/a/b"))
        assert (entry.kind, entry.size, entry.mode) == ("file", 10, 0o640)
        assert await settled(files.read("/root/a/b", offset=2, length=3)) == b"234"
        assert await settled(files.read_text("/root/a/b")) == "0123456789"
        with pytest.raises(mvm.NotFound):
            await settled(files.write("/root/none/b", "x", make_parents=False))
        await settled(files.mkdir("/root/d", mode=0o700, parents=False))
        assert (await settled(files.stat("/root/d"))).mode == 0o700
        await settled(files.rename("/root/a/b", "/root/d/c"))
        assert [item.name for item in await settled(files.list("/root/d"))] == ["c"]
        await settled(sandbox.commands.run("ln -s /none /root/link"))
        assert (await settled(files.stat("/root/link", follow=False))).target == "/none"
        assert await settled(files.exists("/root/link"))
        await settled(files.remove("/root/d", recursive=True))
        assert not await settled(files.exists("/root/d"))
    with pytest.raises(mvm.NotFound):
        await settled(files.exists("/root"))


async def test_upload_and_download(surface: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "deep" / "er" / "file ü").write_bytes(bytes(range(256)) * 3000)
    (source / "run").write_text("#!/bin/sh\necho ran\n")
    (source / "run").chmod(0o755)
    (source / "link").symlink_to("/etc/passwd")
    async with made(surface) as sandbox:
        sent = await settled(sandbox.files.upload(source, "/root/there"))
        assert (sent.files, sent.directories, sent.skipped) == (2, 4, (str(source / "link"),))
        assert (await settled(sandbox.commands.run(["/root/there/run"]))).stdout == b"ran\n"
        await settled(sandbox.commands.run("ln -s /etc /root/there/out; mkfifo /root/there/pipe"))
        target = tmp_path / "target"
        got = await settled(sandbox.files.download("/root/there", target))
        assert (got.files, got.directories) == (2, 4)
        assert sorted(got.skipped) == ["/root/there/out", "/root/there/pipe"]
        assert (target / "deep" / "er" / "file ü").read_bytes() == bytes(range(256)) * 3000
        assert (target / "run").stat().st_mode & 0o777 == 0o755
        assert sorted(path.name for path in target.iterdir()) == ["deep", "empty", "run"]
        # What lies in the target already leads nowhere else.
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "kept").write_text("kept")
        trap = tmp_path / "trap"
        trap.mkdir()
        (trap / "run").symlink_to(outside / "kept")
        (trap / "deep").symlink_to(outside)
        with pytest.raises(mvm.InvalidArgument):
            await settled(sandbox.files.download("/root/there", trap))
        assert [path.name for path in outside.iterdir()] == ["kept"]
        (trap / "deep").unlink()
        await settled(sandbox.files.download("/root/there", trap))
        assert (outside / "kept").read_text() == "kept"
        assert not (trap / "run").is_symlink()
        one = await settled(sandbox.files.download("/root/there/run", tmp_path / "one"))
        assert (one.files, (tmp_path / "one").read_text()) == (1, "#!/bin/sh\necho ran\n")


async def test_watch(surface: str) -> None:
    async with made(surface) as sandbox:
        line = "mkdir -p /root/w; sleep 1; echo a > /root/w/new; sleep 1; rm /root/w/new"
        await settled(sandbox.files.mkdir("/root/w"))
        await settled(sandbox.commands.start(line, detached=True))
        changes = await collected(sandbox.files.watch("/root/w", interval=0.2), limit=2)
        kinds = [(change.kind, change.path) for change in changes]
        assert kinds[0] == ("created", "/root/w/new")
        assert kinds[1][0] in ("modified", "removed")


async def test_states_snapshots_and_forks(surface: str) -> None:
    sandboxes, snapshots = SURFACES[surface]
    async with made(surface) as sandbox:
        await settled(sandbox.files.write("/root/f", "one"))
        assert (await settled(sandbox.pause())).state == "paused"
        assert (await settled(sandbox.resume())).state == "running"
        assert (await settled(sandbox.cold())).state == "cold"
        with pytest.raises(mvm.SandboxUnavailable) as caught:
            await settled(sandbox.commands.run("true"))
        assert caught.value.hint
        assert (await settled(sandbox.resume())).state == "running"
        snapshot = await settled(sandbox.snapshot(f"saved-{surface}-{os.getpid()}"))
        assert (await settled(snapshots.get(snapshot.name))).id == snapshot.id
        assert snapshot.id in [item.id for item in await settled(snapshots.list())]
        restored = await settled(sandboxes.restore(snapshot, ttl_seconds=60))
        assert await settled(restored.files.read_text("/root/f")) == "one"
        assert (await settled(restored.info())).expires_at_ms is not None
        await settled(restored.destroy())
        await settled(snapshot.remove())
        with pytest.raises(mvm.NotFound):
            await settled(snapshots.get(snapshot.id))
        children = await settled(sandbox.fork(2))
        await settled(children[0].destroy())
        assert await settled(children[1].files.read_text("/root/f")) == "one"
        await settled(children[1].destroy())


async def test_detached(surface: str) -> None:
    sandboxes = SURFACES[surface][0]
    key = f"key-{surface}-{os.getpid()}"
    first = await settled(sandboxes.create_detached(ttl_seconds=60, idempotency_key=key))
    second = await settled(sandboxes.create_detached(ttl_seconds=60, idempotency_key=key))
    assert first.id == second.id
    assert (await settled(first.info())).ownership == "detached"
    await settled(first.destroy())
    async with made(surface) as sandbox:
        with pytest.raises(mvm.InvalidArgument):
            await settled(sandbox.detach())
        other = await settled(sandboxes.connect(sandbox.id))
        await settled(other.detach(ttl_seconds=60))
        assert (await settled(sandbox.info())).ownership == "detached"
