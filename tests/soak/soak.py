#!/usr/bin/env python3
"""Many short sandboxes from one program, and many programs that are killed: `soak.py [SANDBOXES] [KILLS]`.

Uses the mvmctl and the state directory that the environment names (MVM_MVMCTL, MVM_HOME). Prints what it found as
JSON and exits with 1 where a sandbox failed, outlived its program by more than 5 s, or left something behind."""

import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mvm

PROGRAM = """
import sys, time, mvm
print("begun", flush=True)
while True:
    with mvm.Sandbox.create() as sandbox:
        print(sandbox.id, flush=True)
        sandbox.commands.run(["sleep", "0.2"])
"""


def server_pid() -> int:
    """The private server: this process's child that serves."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for child in children:
        if b"serve" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise SystemExit("there is no private server")


def held(pid: int) -> dict[str, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    memory = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return {"memory_kib": int(memory), "files": len(os.listdir(f"/proc/{pid}/fd"))}


def short_one(number: int) -> float:
    begun = time.perf_counter()
    with mvm.Sandbox.create() as sandbox:
        result = sandbox.commands.run(["echo", str(number)])
        assert result.stdout == f"{number}\n".encode(), result
    return time.perf_counter() - begun


def soak(count: int) -> dict[str, object]:
    mvm.Sandbox.list()
    server = server_pid()
    marks, times, failures = [held(server)], [], []
    begun = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        for number in range(0, count, 100):
            for outcome in [pool.submit(short_one, number + one) for one in range(min(100, count - number))]:
                error = outcome.exception()
                if error is None:
                    times.append(outcome.result())
                else:
                    failures.append(repr(error))
            marks.append(held(server))
    times.sort()
    return {
        "sandboxes": len(times),
        "failures": failures,
        "seconds": round(time.perf_counter() - begun, 1),
        "p50_ms": round(times[len(times) // 2] * 1000, 1),
        "p95_ms": round(times[int(len(times) * 0.95)] * 1000, 1),
        "server_every_100": marks,
    }


def gone(before: set[str]) -> bool:
    return {info.id for info in mvm.Sandbox.list()} <= before


def kills(count: int) -> dict[str, object]:
    before = {info.id for info in mvm.Sandbox.list()}
    slowest, late, had_one = 0.0, 0, 0
    for _ in range(count):
        child = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(random.uniform(0, 1.0))
        had_one += not gone(before)
        child.kill()
        child.wait()
        begun = time.perf_counter()
        while not gone(before):
            if time.perf_counter() - begun > 5:
                late += 1
                break
            time.sleep(0.01)
        slowest = max(slowest, time.perf_counter() - begun)
    return {"kills": count, "with_a_sandbox": had_one, "slowest_ms": round(slowest * 1000, 1), "later_than_5_s": late}


def main() -> int:
    sandboxes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    deaths = int(sys.argv[2]) if len(sys.argv) > 2 else 50
    found = {"soak": soak(sandboxes), "kills": kills(deaths)}
    home = Path(os.environ["MVM_HOME"])
    left = [str(path) for folder in ("sandboxes", "staging") for path in (home / folder).iterdir()]
    found["left_behind"] = left
    print(json.dumps(found, indent=2))
    return int(bool(found["soak"]["failures"] or found["kills"]["later_than_5_s"] or left))


if __name__ == "__main__":
    sys.exit(main())
