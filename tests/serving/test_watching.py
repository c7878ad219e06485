"""What a server tells of its requests: figures for Prometheus, lines of JSON, spans."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from quorate.open_inference.messages import SERVICE
from tests.serving.puppets import told
from tests.serving.test_failures import request
from tests.waiting import until


def figures(server) -> dict:
    text = requests.get(f"{server.url}/metrics").text
    return {
        (one.name, *sorted(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def lines(server) -> list[dict]:
    return [json.loads(one) for one in [*server.lines] if one.startswith("{")]


def test_figures_and_lines(puppets):
    with puppets.start("--member-timeout", "600") as server:
        told(puppets.ask(server, body=puppets.body(2), headers={"X-Request-Id": "my-1"}))
        puppets.tell("b", "fail")
        degraded = puppets.ask(server)
        assert told(degraded)["degraded"]
        made = degraded.headers["x-request-id"]
        assert len(made) == 32
        puppets.tell("b", "")
        bad = puppets.ask(server, body={"inputs": []}, headers={"X-Request-Id": "no\tid"})
        assert bad.status_code == 400
        assert puppets.ask(server, "nobody").status_code == 404
        with grpc.insecure_channel(server.rpc.removeprefix("grpc://")) as channel:
            ask = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            _, call = ask.with_call(request(puppets), metadata=[("x-request-id", "my-2")])
            assert dict(call.trailing_metadata())["x-request-id"] == "my-2"

        found = figures(server)
        asked = "quorate_requests_total"
        assert found[asked, "OK", "http", "spots"] == 2
        assert found[asked, "OK", "grpc", "spots"] == 1
        assert found[asked, "INVALID_ARGUMENT", "http", "spots"] == 1
        assert found[asked, "", "NOT_FOUND", "http"] == 1
        assert found["quorate_request_seconds_count", "http", "spots"] == 3
        assert found["quorate_member_seconds_count", "a", "spots"] == 4
        assert found["quorate_member_pictures_total", "a", "spots", "voted"] == 4
        assert found["quorate_member_pictures_total", "b", "failed", "spots"] == 1
        assert found["quorate_pictures_total", "false", "spots"] == 3
        assert found["quorate_pictures_total", "spots", "true"] == 1
        assert found["quorate_decided_total", "3", "spots"] == 6
        assert found["quorate_decided_total", "2", "spots"] == 2
        assert found["quorate_ready", "spots"] == 1
        assert found["quorate_waiting_pictures", "spots"] == 0
        assert found["quorate_held_bytes",] == 0

        until(lambda: any(one.get("request") == "my-2" for one in lines(server)))
        by_id = {one["request"]: one for one in lines(server) if "request" in one}
        first = by_id["my-1"]
        assert first["what"] == "/v2/models/spots/infer"
        assert (first["code"], first["pictures"], first["degraded"]) == ("OK", 2, False)
        assert {*first["members"]} == {"a", "b", "c"}
        assert first["level"] == "info"
        assert by_id[made]["failed"].startswith("b: ")
        assert by_id["my-2"]["way"] == "grpc"
        assert "no\tid" not in by_id
        assert not any("health" in one.get("what", "") for one in lines(server))


def test_a_quiet_server_tells_of_faults_alone(puppets):
    with puppets.start() as server:
        told(puppets.ask(server))
        until(lambda: any("request" in one for one in lines(server)))
    puppets.write()
    from tests.cvat.servers import started

    with started(str(puppets.spec), "-v", plugins=puppets.plugins) as server:
        requests.get(f"{server.url}/v2/health/live")
        until(lambda: any("live" in one.get("what", "") for one in lines(server)))


@pytest.fixture
def collector():
    """What is sent to a collector of OpenTelemetry: the spans, as messages."""
    trace = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                data = gzip.decompress(data)
            sent = trace.ExportTraceServiceRequest.FromString(data)
            for one in sent.resource_spans:
                for scope in one.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_of_a_request_and_of_each_member(puppets, collector, monkeypatch):
    url, spans = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    with puppets.start() as server:
        told(puppets.ask(server, headers={"traceparent": f"00-{trace}-{parent}-01"}))
        until(lambda: len([one for one in spans if one.trace_id.hex() == trace]) == 4)
        mine = [one for one in spans if one.trace_id.hex() == trace]
    [own] = [one for one in mine if one.parent_span_id.hex() == parent]
    assert own.name == "/v2/models/spots/infer"
    looks = [one for one in mine if one is not own]
    assert sorted(one.name for one in looks) == ["look a", "look b", "look c"]
    assert all(one.parent_span_id == own.span_id for one in looks)
    began = own.start_time_unix_nano
    assert all(began <= one.start_time_unix_nano <= one.end_time_unix_nano for one in looks)
    attributes = {one.key: one.value for one in own.attributes}
    assert attributes["quorate.model"].string_value == "spots"
    assert not attributes["quorate.degraded"].bool_value
