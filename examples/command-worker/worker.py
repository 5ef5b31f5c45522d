"""Answers `NAME.txt` in its directory by its SHA-256 in `NAME.sha256`."""

import hashlib
import signal
import sys
import threading
import time
from pathlib import Path

JOBS = Path("/srv/jobs")
ALIVE = Path("/run/worker-alive")
ROUND_SECONDS = 0.2
PATIENCE_SECONDS = 10


def main() -> None:
    ending = threading.Event()
    # `mvmctl down` asks like this; the job that is being done is finished first.
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    JOBS.mkdir(parents=True, exist_ok=True)
    print("waiting for jobs in", JOBS)
    while not ending.wait(ROUND_SECONDS):
        for job in sorted(JOBS.glob("*.txt")):
            answer(job)
        ALIVE.touch()
    print("ended")


def answer(job: Path) -> None:
    digest = hashlib.sha256(job.read_bytes()).hexdigest()
    job.with_suffix(".sha256").write_text(digest + "\n")
    job.unlink()
    print("answered", job.name)


def is_healthy() -> bool:
    """Whether the last round was lately: a worker that hangs in one is not healthy."""
    return ALIVE.exists() and time.time() - ALIVE.stat().st_mtime < PATIENCE_SECONDS


if __name__ == "__main__":
    if "--healthy" in sys.argv:
        sys.exit(0 if is_healthy() else 1)
    main()
