"""The function to call: what the workload says of it, and the function itself."""

from __future__ import annotations

import importlib
import json

from .failure import Refused
from .values import hints_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class Found:
    """A function with its schemas and hints, and the parameters it takes by position only."""

    def __init__(self, function: Callable[..., Any], declared: dict[str, Any]) -> None:
        self.function = function
        self.arguments_schema = declared.get("arguments_schema", True)
        self.result_schema = declared.get("result_schema", True)
        self.hints = hints_of(function)
        code = getattr(function, "__code__", None)
        self.positional: tuple[str, ...] = code.co_varnames[: code.co_posonlyargcount] if code else ()


def load(file: str, app: str, name: str) -> Found:
    """Imports the module of an entrypoint and finds its function. Raises `Refused`, and what the module raises."""
    declared = _declared(file, app, name)
    module_name, function_name = declared["module"], declared["function"]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise Refused("ModuleNotFoundError", f"the app has no module `{module_name}`") from None
        raise
    function = getattr(module, function_name, None)
    if not callable(function):
        what = "is no function" if hasattr(module, function_name) else "is not there"
        place = getattr(module, "__file__", None) or "built in"
        raise Refused("FunctionNotFound", f"`{function_name}` {what} in the module `{module_name}` ({place})")
    return Found(function, declared)


def _declared(file: str, app: str, name: str) -> dict[str, Any]:
    try:
        with open(file, encoding="utf-8") as opened:
            workload = json.load(opened)
        apps: list[dict[str, Any]] = [one for one in workload["apps"] if one["name"] == app]
        entrypoints = [one for one in apps[0]["entrypoints"] if one["name"] == name] if apps else []
        declared: dict[str, Any] = dict(entrypoints[0]) if entrypoints else {}
        kind, language = declared.get("kind"), declared.get("language")
        if kind == "function":
            declared.update({field: str.__str__(declared[field]) for field in ("module", "function")})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Refused("WorkloadUnreadable", f"`{file}` is no workload: {type(error).__name__}: {error}") from None
    if not apps:
        raise Refused("EntrypointNotFound", f"the workload has no app `{app}`")
    if not entrypoints:
        raise Refused("EntrypointNotFound", f"the app `{app}` has no entrypoint `{name}`")
    if kind != "function" or language != "python":
        what = f"a function of {language}" if kind == "function" else f"a {kind}"
        raise Refused("EntrypointNotFound", f"the entrypoint `{name}` is {what}, not a function of python")
    return declared
