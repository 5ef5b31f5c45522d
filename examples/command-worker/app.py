"""A command that is kept up: when it fails, or looks stuck, it is started again in a new microVM."""

import mvm

mvm.workload(id="command-worker")

mvm.app(
    name="digests",
    image=mvm.python_image(),
    source=mvm.local_path(".", include=["worker.py"]),
    entrypoint=mvm.entrypoint(["python3", "-u", "worker.py"]),
    health_check=mvm.health_check(["python3", "worker.py", "--healthy"], interval_seconds=5, start_period_seconds=20),
    restart="on-failure",
)
