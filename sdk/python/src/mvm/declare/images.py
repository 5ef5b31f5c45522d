"""What an app runs on: its image, the files added to it, and what is installed into it."""

from __future__ import annotations

from .value import Declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal


class Source(Declared):
    """Files that are added to an image."""

    __slots__ = ()


class Image(Declared):
    """What an app runs on."""

    __slots__ = ()


class Dependencies(Declared):
    """What is installed into an image from a lockfile."""

    __slots__ = ()


def local_path(path: str, *, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None) -> Source:
    """A directory, relative to the declaration's; globs say which files (all), and which of those not (none)."""
    return Source("local_path", locals())


def image(reference: str) -> Image:
    """A named source: `debian:python`, `oci:HOST/PATH@sha256:…`, `nix:FLAKE#ATTRIBUTE`."""
    return Image("image", locals())


def debian(name: str) -> Image:
    """One of mvm's own images of Debian: `python`, `node`."""
    return Image("debian", locals())


def oci_image(reference: str, *, digest: str | None = None) -> Image:
    """An image of a registry, and the digest (`sha256:…`) it must have."""
    return Image("oci_image", locals())


def python_image(
    python: str | None = None, *, version: str | None = None, packages: Sequence[str] | None = None
) -> Image:
    """Python of a version (3.11), with packages of the system; which image that is, the host's catalog says."""
    return Image("python_image", locals())


def node_image(node: str | None = None, *, version: str | None = None, packages: Sequence[str] | None = None) -> Image:
    """Node.js of a version (18), with packages of the system; which image that is, the host's catalog says."""
    return Image("node_image", locals())


def nix_packages(packages: Sequence[str]) -> Image:
    """Packages of the Nix collection that the host's catalog names."""
    return Image("nix_packages", locals())


def python_deps(lockfile: str, *, tool: Literal["uv", "pip-tools"] | None = None) -> Dependencies:
    """Python packages of a lockfile whose every entry has a hash; `uv` writes it unless `tool` says else."""
    return Dependencies("python_deps", locals())


def node_deps(lockfile: str, *, tool: Literal["pnpm", "npm", "yarn"] | None = None) -> Dependencies:
    """Node.js packages of a lockfile whose every entry has a hash; `pnpm` writes it unless `tool` says else."""
    return Dependencies("node_deps", locals())


def no_deps() -> Dependencies:
    """Nothing."""
    return Dependencies("no_deps", {})
