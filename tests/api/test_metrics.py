"""`/metrics`: readable by Prometheus, and with nothing of a user in it."""

from __future__ import annotations

import base64
import secrets

from prometheus_client.openmetrics.parser import text_string_to_metric_families

import serving
from conftest import Serve


def families(server: serving.Served) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The samples of `/metrics`, by name and labels."""
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_what_happens_is_counted(serve: Serve) -> None:
    server = serve()
    assert "mvm_commands_total" not in families(server)
    with server.leased() as sandbox:
        for line in ("true", "exit 3", "exit 4"):
            server.shell(sandbox, line)
        with server.process(sandbox, shell="exit 5") as process:
            process.to_the_end()
        server.refused(404, "POST", f"/v1/sandboxes/{sandbox}/exec", json={"argv": ["not-there"]})
        server.refused(404, "GET", "/v1/none")
        counted = families(server)
    exec_route = ("route", "/v1/sandboxes/{id}/exec")
    assert counted["mvm_commands_total"] == {(("outcome", "failed"),): 3, (("outcome", "succeeded"),): 1}
    assert counted["mvm_sandboxes_made_total"] == {(("outcome", "failed"),): 0, (("outcome", "made"),): 1}
    requests = counted["mvm_http_requests_total"]
    assert requests[("method", "POST"), exec_route, ("status", "200")] == 3
    assert requests[("method", "POST"), exec_route, ("status", "404")] == 1
    assert requests[("method", "GET"), ("route", "unknown"), ("status", "404")] == 1
    assert counted["mvm_sandbox_making_seconds_count"] == {(): 1}
    assert counted["mvm_http_answer_seconds_count"][()] == sum(requests.values())
    assert counted["mvm_sandboxes"][(("state", "running"),)] >= 1


def test_nothing_of_a_user_is_told(serve: Serve) -> None:
    """Neither in the metrics nor in the server's log: names, arguments, paths, values, output, methods."""
    server = serve()
    planted = [f"planted-{secrets.token_hex(6)}" for _ in range(8)]
    name, variable, argument, path, content, text, query, route = planted
    with server.leased(name=name, environment={"PLANTED": variable}) as sandbox:
        assert server.shell(name, f"echo {argument}; cat >&2", stdin_base64=base64.b64encode(text.encode()).decode())
        server.ask("PUT", f"/v1/sandboxes/{name}/files", params={"path": f"/root/{path}"}, content=content.encode())
        server.refused(400, "GET", f"/v1/sandboxes/{name}/files", params={"path": query})
        server.refused(404, "GET", f"/v1/{route}")
        metrics, log = server.client.get("/metrics").text, server.log.read_text()
    for value in (*planted, sandbox):
        assert value not in metrics
        assert value not in log
    assert '"route":"/v1/sandboxes/{id}/files"' in log
