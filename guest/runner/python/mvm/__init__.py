"""What a declaration finds in a guest: helpers that declare nothing, and decorators that change nothing.

The runtime SDK is not here: a guest creates no sandboxes.
"""


class Declared:
    """What a helper gives; nothing in a guest looks at it."""

    def __init__(self, *values, **named):
        pass


def _decorator(*values, **named):
    """`@mvm.app(...)`, and `@mvm.app` itself."""
    if len(values) == 1 and not named and callable(values[0]):
        return _decorated(values[0])
    return _decorated


app = func = workload = _decorator


def _decorated(function):
    def remote(*values, **named):
        raise RuntimeError(f"`{function.__name__}.remote` was called in a guest, which starts no other")

    try:
        function.local = function
        function.remote = function.remote_async = remote
    except AttributeError:
        # What takes no attributes is as it was.
        pass
    return function


def __getattr__(name):
    if name.startswith("_") or not name.islower():
        raise AttributeError(f"`mvm.{name}` is not there in a guest, only what declares")
    return Declared
