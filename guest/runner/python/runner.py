"""Answers calls of one function of an app, in the guest.

    python3 /usr/lib/mvm/runner.py APP ENTRYPOINT [WORKLOAD_FILE]

The working directory is the app's. Newline-delimited JSON goes over the standard streams it was started with:
`{"event":"ready"}` first, or `{"event":"failed","error":…}` and exit 1; then for each `{"arguments":{…}}` one
`{"event":"returned","value":…}` or `{"event":"raised","error":…}`; the end of the input is exit 0. The function
finds an empty standard input, and what it prints goes to standard error.

Python 3.9 or newer, and nothing but its own library.
"""

import os
import sys

WORKLOAD_FILE = "/etc/mvm/workload.json"
HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    from mvm_runner import call, channel, entrypoint, failure

    # Before anything of the app is loaded.
    streams = channel.take_over()
    app, name, *rest = [*sys.argv[1:], "", ""]
    file = rest[0] if rest and rest[0] else WORKLOAD_FILE
    # Modules are the app's from here on; the declarations' stub is what is found last.
    sys.path[0] = os.getcwd()
    sys.path.append(os.path.join(HERE, "python"))
    sys.argv = [name]
    try:
        found = entrypoint.load(file, app, name)
    except BaseException as error:
        streams.reply({"event": "failed", "error": failure.describe(error)})
        channel.leave(1)
    streams.reply({"event": "ready"})
    for line in streams.requests():
        streams.reply(call.answer(found, line))
    channel.leave(0)


if __name__ == "__main__":
    main()
