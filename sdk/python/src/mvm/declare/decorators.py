"""`workload`, `app` and `func`: they say what the compiler reads, and attach `local` and `remote`."""

from __future__ import annotations

from .functions import attach
from .value import Declared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any, Literal, ParamSpec, TypedDict, TypeVar, overload

    from typing_extensions import Unpack

    from .entrypoints import Entrypoint, HealthCheck, Hook, Language, Resources, Restart, RestartPolicy, WarmProcess
    from .images import Dependencies, Image, Source
    from .networks import Network
    from .signatures import AsyncFunction, Function
    from .storage import Environment, File, Mount, MountSource

    P = ParamSpec("P")
    R = TypeVar("R")
    AnyT = TypeVar("AnyT")
    Hooks = str | Hook | Sequence[str | Hook | Sequence[str]]
else:

    class TypedDict:
        def __init_subclass__(cls, **_: object) -> None: ...


class AppOptions(TypedDict, total=False):
    """What `app` and `func` take. Where two names mean the same, one of them is given."""

    name: str
    source: Source
    image: str | Image
    resources: Resources
    environment: Environment
    env: Environment
    mounts: Sequence[Mount] | Mapping[str, str | MountSource]
    network: Network
    dependencies: Dependencies
    depends_on: Sequence[str]
    before_build: Hooks
    before_start: Hooks
    after_start: Hooks
    before_stop: Hooks
    health_check: HealthCheck
    restart: RestartPolicy | Restart
    files: Sequence[File]
    entrypoint: Entrypoint
    entrypoints: Sequence[Entrypoint]
    module: str
    function: str
    language: Language
    format: Literal["json"]
    primary: bool
    working_directory: str
    working_dir: str
    arguments_schema: Mapping[str, Any]
    args_schema: Mapping[str, Any]
    result_schema: Mapping[str, Any]
    return_schema: Mapping[str, Any]
    warm: WarmProcess
    concurrency: WarmProcess


class Workload(Declared):
    """Names the workload of a file. It may decorate anything, and gives it back as it is."""

    __slots__ = ()

    def __call__(self, decorated: AnyT) -> AnyT:
        return decorated


class App(Declared):
    """Declares an app, and decorates the function that is its entrypoint, if it has one."""

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncFunction[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Function[P, R]: ...

    def __call__(self, function: Any, /) -> Any:
        return attach(function, self)


def workload(id: str, *, volumes: Sequence[MountSource] | None = None) -> Workload:  # noqa: A002 - as in the document
    """Names the workload of the file, and declares volumes of it."""
    return Workload("workload", locals())


if TYPE_CHECKING:

    @overload
    def app(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncFunction[P, R]: ...
    @overload
    def app(function: Callable[P, R], /) -> Function[P, R]: ...
    @overload
    def app(**options: Unpack[AppOptions]) -> App: ...


def app(*decorated: Any, **options: Any) -> Any:
    """Declares an app: decorating a function, or by itself with the entrypoints it is given.

    Everything has a default: the app is named after the function, its source is the directory of the file,
    its image Debian with Python.
    """
    return _declaration("app", decorated, options)


if TYPE_CHECKING:

    @overload
    def func(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncFunction[P, R]: ...
    @overload
    def func(function: Callable[P, R], /) -> Function[P, R]: ...
    @overload
    def func(**options: Unpack[AppOptions]) -> App: ...


def func(*decorated: Any, **options: Any) -> Any:
    """As `app`; a second one with the same `name` adds its function to the app that the first declared."""
    return _declaration("func", decorated, options)


def _declaration(helper: str, decorated: tuple[Any, ...], options: dict[str, Any]) -> Any:
    for name in options:
        if name not in AppOptions.__annotations__:
            raise TypeError(f"{helper}() got an unexpected keyword argument '{name}'")
    if decorated and (options or len(decorated) > 1):
        raise TypeError(f"{helper}() takes one function, or keyword arguments")
    declaration = App(helper, options)
    return declaration(decorated[0]) if decorated else declaration
