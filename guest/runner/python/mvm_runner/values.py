"""The SDK's own rules of what is JSON, of the stub package's file and not by its name: an app may have another
`mvm`."""

import os
import sys

sys.path.insert(0, os.path.join(sys.path[0], "python/mvm/declare"))
import values

sys.modules["mvm_runner.declared_values"] = sys.modules.pop("values")
del sys.path[0]

MAX_BYTES = values.MAX_BYTES
DoesNotFit = values.DoesNotFit
NotJson = values.NotJson
from_json = values.from_json
hints_of = values.hints_of
step = values.step
to_json = values.to_json
