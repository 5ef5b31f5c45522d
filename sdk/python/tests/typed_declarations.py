"""Declarations as a type checker sees them; read by pyright, not run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing_extensions import assert_type

import mvm

mvm.workload(id="typed", volumes=[mvm.volume("data", size_mib=64)])


@mvm.app(
    name="math",
    image=mvm.python_image("3.12", packages=["git"]),
    resources=mvm.resources(cpu_cores=1, memory_mb=256, rootfs_size_mb=512),
    env={"LEVEL": "info", "KEY": mvm.secret("key", hosts=["api.example.com"])},
    network=mvm.network(egress=mvm.egress([mvm.host_port("api.example.com", 443)]), ports=[80, {"guest": 81}]),
    mounts=[mvm.mount(mvm.volume("data"), "/data", read_only=True)],
    before_start=[mvm.hook("echo one"), ["echo", "two"]],
    restart="on-failure",
)
def plain(a: int, *, b: str = "") -> list[int]:
    return [a, len(b)]


@mvm.func
async def asynchronous(a: int) -> str:
    return str(a)


def sync() -> None:
    assert_type(plain(1), list[int])
    assert_type(plain.local(1, b=""), list[int])
    assert_type(plain.remote(1), list[int])
    assert_type(plain.within(2, request_timeout=1).remote(1), list[int])
    assert_type(asynchronous.remote(1), str)
    plain.remote("1")  # pyright: ignore[reportArgumentType]
    plain.remote(1, c=2)  # pyright: ignore[reportCallIssue]
    mvm.app(nam="a")  # pyright: ignore[reportCallIssue]
    mvm.app(network=mvm.image("debian:python"))  # pyright: ignore[reportArgumentType]
    mvm.network(mode="host")  # pyright: ignore[reportArgumentType]


async def concurrent() -> None:
    assert_type(await asynchronous(1), str)
    assert_type(await asynchronous.local(1), str)
    assert_type(await asynchronous.remote_async(1), str)
    assert_type(await plain.remote_async(1), list[int])


held: mvm.Function[[int], list[int]] | mvm.AsyncFunction[[int], str] = asynchronous
