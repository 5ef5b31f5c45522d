"""The server against its OpenAPI document: requests that the document allows and ones that it forbids, the same
in every run. No answer is a failure of the server, and each is one that the document names.

Whatever `{id}` a request names, half of them name a sandbox that is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
import serving
from schemathesis.checks import not_a_server_error
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
