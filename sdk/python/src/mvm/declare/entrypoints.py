"""What is started in an app, what it may use, and what runs at the turns of its life."""

from __future__ import annotations

from .value import Declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from .storage import Environment

    Language = Literal["python", "node", "typescript", "javascript", "rust"]
    RestartPolicy = Literal["never", "on-failure", "on_failure", "always"]


class Resources(Declared):
    """What an app's microVM may use."""

    __slots__ = ()


class Entrypoint(Declared):
    """Something that can be started in an app."""

    __slots__ = ()


class WarmProcess(Declared):
    """Workers that have loaded a function before it is called."""

    __slots__ = ()


class Hook(Declared):
    """One command at a turn of an app's life."""

    __slots__ = ()


class HealthCheck(Declared):
    """How an app's health is told."""

    __slots__ = ()


class Restart(Declared):
    """What happens when an app's command ends."""

    __slots__ = ()


def resources(
    vcpus: int | None = None,
    memory_mib: int | None = None,
    disk_mib: int | None = None,
    *,
    cpu_cores: int | None = None,
    cpu: int | None = None,
    cpus: int | None = None,
    memory_mb: int | None = None,
    rootfs_size_mb: int | None = None,
    rootfs_size_mib: int | None = None,
    disk_mb: int | None = None,
) -> Resources:
    """Virtual processors, memory and disk, both in MiB by whatever name."""
    return Resources("resources", locals())


def entrypoint(
    command: Sequence[str],
    *,
    name: str | None = None,
    primary: bool | None = None,
    working_directory: str | None = None,
    working_dir: str | None = None,
    environment: Environment | None = None,
    env: Environment | None = None,
) -> Entrypoint:
    """A program with its arguments."""
    return Entrypoint("entrypoint", locals())


def entrypoint_function(
    module: str,
    function: str,
    *,
    name: str | None = None,
    language: Language | None = None,
    format: Literal["json"] | None = None,  # noqa: A002 - the keyword of the declaration
    primary: bool | None = None,
    working_directory: str | None = None,
    working_dir: str | None = None,
    environment: Environment | None = None,
    env: Environment | None = None,
    arguments_schema: Mapping[str, Any] | None = None,
    args_schema: Mapping[str, Any] | None = None,
    result_schema: Mapping[str, Any] | None = None,
    return_schema: Mapping[str, Any] | None = None,
    warm: WarmProcess | None = None,
    concurrency: WarmProcess | None = None,
) -> Entrypoint:
    """A function of a module that is called with JSON and answers with JSON."""
    return Entrypoint("entrypoint_function", locals())


def warm_process(
    *,
    pool_size: int | None = None,
    max_calls_per_worker: int | None = None,
    max_memory_mib: int | None = None,
    max_rss_mb: int | None = None,
    max_rss_mib: int | None = None,
    in_process: Literal["serial"] | None = None,
) -> WarmProcess:
    """How many workers are kept (1), and the calls one answers and the memory (MiB) one uses before it is replaced."""
    return WarmProcess("warm_process", locals())


def hook(
    run: str | Sequence[str] | None = None,
    *,
    command: str | Sequence[str] | None = None,
    line: str | Sequence[str] | None = None,
    timeout_seconds: int | None = None,
    timeout: int | None = None,
    timeout_secs: int | None = None,
    working_directory: str | None = None,
    working_dir: str | None = None,
    environment: Environment | None = None,
    env: Environment | None = None,
) -> Hook:
    """A line for the shell, or a program with its arguments; ended after so many seconds (60)."""
    return Hook("hook", locals())


def health_check(
    command: Sequence[str],
    *,
    interval_seconds: int | None = None,
    interval_secs: int | None = None,
    interval: int | None = None,
    timeout_seconds: int | None = None,
    timeout_secs: int | None = None,
    timeout: int | None = None,
    retries: int | None = None,
    start_period_seconds: int | None = None,
    start_period_secs: int | None = None,
    start_period: int | None = None,
) -> HealthCheck:
    """A program that exits with 0 while the app is well, each 30 s, in 5 s; 3 failures in a row are unhealthy."""
    return HealthCheck("health_check", locals())


def restart(policy: RestartPolicy) -> Restart:
    """Whether a command that ended is started again."""
    return Restart("restart", locals())
