"""The SDK's own rules of what is JSON, loaded from the stub package's file and not by its name: an app may have
another `mvm`."""

from __future__ import annotations

import importlib.util
import os
import sys

_FILE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python/mvm/declare/values.py")
_spec = importlib.util.spec_from_file_location("mvm_runner.declared_values", _FILE)
assert _spec is not None and _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = _module
_spec.loader.exec_module(_module)

MAX_BYTES = _module.MAX_BYTES
DoesNotFit = _module.DoesNotFit
NotJson = _module.NotJson
from_json = _module.from_json
hints_of = _module.hints_of
step = _module.step
to_json = _module.to_json
