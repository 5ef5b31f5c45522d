"""Calls one function of a workload, in the guest: lines of JSON in, lines of JSON out.

    python3 runner.py APP ENTRYPOINT [WORKLOAD]

The lines go by the standard streams this process was started with. The function sees an empty
standard input, and what it prints goes to standard error.
"""

import json
import os
import sys

# Nothing else is imported before it is needed: every import is paid by each call.

WORKLOAD = "/etc/mvm/workload.json"
STUBS = "/usr/lib/mvm/python"
MOST_BYTES = 8 * 1024 * 1024
MOST_TRACEBACK = 64 * 1024
MOST_MESSAGE = 4 * 1024


class Refused(Exception):
    """What is asked or given that cannot be passed on."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def main(app, entrypoint, workload=WORKLOAD):
    requests, replies = take_streams()
    try:
        declared = find(workload, app, entrypoint)
        function = load(declared)
        hints = hints_of(function)
    except BaseException as error:
        say(replies, {"event": "failed", "error": told(error)})
        return 1
    say(replies, {"event": "ready"})
    while True:
        line = requests.readline(MOST_BYTES + 1)
        if not line:
            return 0
        # A process may have been forked with its memory; no two may draw the same numbers.
        if "random" in sys.modules:
            sys.modules["random"].seed(os.urandom(32))
        try:
            reply = encode(answer(function, declared, hints, line))
        except Refused as error:
            reply = encode({"event": "raised", "error": {"type": error.kind, "message": str(error), "traceback": ""}})
        except BaseException as error:
            reply = encode({"event": "raised", "error": told(error)})
        sys.stdout.flush()
        sys.stderr.flush()
        replies.write(reply)
        replies.flush()


def take_streams():
    """The streams of the protocol; what user code finds in their place is empty, and standard error."""
    requests = os.fdopen(os.dup(0), "rb", buffering=1 << 16)
    replies = os.fdopen(os.dup(1), "wb", buffering=1 << 16)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    # In the order in which it was printed, beside what children print.
    sys.stdout.reconfigure(line_buffering=True)
    return requests, replies


def find(workload, app, entrypoint):
    with open(workload, "rb") as file:
        document = json.load(file)
    for declared in document["apps"]:
        if declared["name"] == app:
            for function in declared["entrypoints"]:
                if function["name"] == entrypoint and function["kind"] == "function":
                    return function
    raise LookupError(f"the image has no function `{entrypoint}` of app `{app}`")


def load(declared):
    """The function itself; its module is looked for where it starts."""
    sys.path[0] = os.getcwd()
    sys.path.append(STUBS)
    sys.argv = [declared["module"]]
    __import__(declared["module"])
    value = getattr(sys.modules[declared["module"]], declared["function"])
    if not callable(value):
        raise TypeError(f"`{declared['function']}` of `{declared['module']}` is no function")
    return value


def hints_of(function):
    """The hints by name; without data classes in the program, there is nothing to make of them."""
    if "dataclasses" not in sys.modules:
        return {}
    import typing

    try:
        return typing.get_type_hints(function)
    except Exception:
        # Hints that only a type checker can follow make no data classes of arguments.
        return {}


def answer(function, declared, hints, line):
    if len(line) > MOST_BYTES:
        raise Refused("ArgumentsTooLarge", f"the arguments take more than {MOST_BYTES} bytes")
    try:
        arguments = json.loads(line)["arguments"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused("ArgumentsInvalid", "the request is none") from None
    check("ArgumentsInvalid", declared.get("arguments_schema"), arguments, "")
    made = arguments
    if hints:
        made = {name: construct(hints.get(name), value) for name, value in arguments.items()}
    positional = [made.pop(name) for name in positional_only(function) if name in made]
    value = function(*positional, **made)
    if hasattr(value, "__await__"):
        import asyncio

        value = asyncio.run(wait_for(value))
    value = plain(value, "", ())
    check("ResultInvalid", declared.get("result_schema"), value, "")
    return {"event": "returned", "value": value}


def positional_only(function):
    code = getattr(function, "__code__", None)
    return code.co_varnames[: code.co_posonlyargcount] if code else ()


async def wait_for(value):
    return await value


def construct(hint, value):
    """A value as its hint has it: objects become data classes, also in lists and optionals."""
    import dataclasses
    import typing

    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        inner = hints_of(hint)
        return hint(**{name: construct(inner.get(name), part) for name, part in value.items()})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(value, list):
        if origin is list and arguments:
            return [construct(arguments[0], part) for part in value]
        if origin is tuple and arguments:
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return tuple(construct(arguments[0], part) for part in value)
            return tuple(construct(part_hint, part) for part_hint, part in zip(arguments, value))
    if isinstance(value, dict):
        if origin is dict and len(arguments) == 2:
            return {name: construct(arguments[1], part) for name, part in value.items()}
        for choice in arguments if origin is not None else ():
            if dataclasses.is_dataclass(choice):
                return construct(choice, value)
    return value


def plain(value, at, around):
    """A result as JSON has it, or what cannot be JSON and where it is."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if value - value == 0:
            return value
        raise Refused("ResultNotJson", f"{value} at `{at}` is no number of JSON")
    if id(value) in around:
        raise Refused("ResultNotJson", f"the result holds itself at `{at}`")
    if len(around) >= 100:
        raise Refused("ResultNotJson", f"the result is nested more than 100 deep at `{at[:64]}…`")
    within = (*around, id(value))
    if hasattr(type(value), "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise Refused("ResultNotJson", f"a key at `{at}` is {type(name).__name__}, not str")
        return {name: plain(part, f"{at}/{name}", within) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part, f"{at}/{index}", within) for index, part in enumerate(value)]
    raise Refused("ResultNotJson", f"{type(value).__name__} at `{at}` cannot be JSON")


TYPES = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool))
    or (isinstance(value, float) and value.is_integer()),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, (list, tuple)),
    "object": lambda value: isinstance(value, dict),
}


def check(kind, schema, value, at):
    flaw = mismatch(schema, value, at)
    if flaw is not None:
        raise Refused(kind, flaw)


def mismatch(schema, value, at):
    """What a value has that its schema (the part of draft 2020-12 that workloads use) does not allow."""
    if schema is None or schema is True:
        return None
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(TYPES[name](value) for name in types):
        return f"`{at}` is not {' or '.join(types)}"
    if "enum" in schema and not any(same(value, choice) for choice in schema["enum"]):
        return f"`{at}` is none of the values there are"
    if "const" in schema and not same(value, schema["const"]):
        return f"`{at}` is not the one value there is"
    if "anyOf" in schema and all(mismatch(choice, value, at) for choice in schema["anyOf"]):
        return f"`{at}` is of none of the forms there are"
    if isinstance(value, dict):
        return mismatch_in_object(schema, value, at)
    if isinstance(value, (list, tuple)):
        return mismatch_in_array(schema, value, at)
    return None


def mismatch_in_object(schema, value, at):
    for name in schema.get("required", []):
        if name not in value:
            return f"`{at}/{name}` is missing"
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name, part in value.items():
        inner = properties.get(name, others)
        if inner is False:
            return f"`{at}/{name}` is not known"
        flaw = mismatch(inner, part, f"{at}/{name}")
        if flaw is not None:
            return flaw
    return None


def mismatch_in_array(schema, value, at):
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"`{at}` has {len(value)} items"
    first = schema.get("prefixItems", [])
    for index, part in enumerate(value):
        inner = first[index] if index < len(first) else schema.get("items")
        flaw = mismatch(inner, part, f"{at}/{index}")
        if flaw is not None:
            return flaw
    return None


def same(one, other):
    """Equality of JSON: true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def told(error):
    """An exception without the frames of this program."""
    import traceback

    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    return {
        "type": type(error).__name__,
        "message": text_of(error)[:MOST_MESSAGE],
        "traceback": text[-MOST_TRACEBACK:],
    }


def text_of(error):
    try:
        return str(error)
    except Exception:
        return "an exception that cannot say what it is"


def say(replies, reply):
    replies.write(encode(reply))
    replies.flush()


def encode(reply):
    """One line; what is too long is said to be."""
    line = json.dumps(reply).encode() + b"\n"
    if len(line) > MOST_BYTES:
        message = f"the result takes more than {MOST_BYTES} bytes"
        error = {"type": "ResultTooLarge", "message": message, "traceback": ""}
        line = json.dumps({"event": "raised", "error": error}).encode() + b"\n"
    return line


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
