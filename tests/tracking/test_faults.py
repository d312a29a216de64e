"""What a server answers is told apart: away for now, or refused for good."""

import http.server
import json
import threading

import pytest
from mlflow import MlflowClient

from pipeline.tracking.faults import StoreAway, passes, told

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server(monkeypatch):
    """Address of a server, and the answer it gives to all: status and body; no status: none."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    answer, over = {}, threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            if answer["status"] is None:
                over.wait(10)
                return
            body = json.dumps(answer["body"]).encode()
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", answer
        over.set()
        running.shutdown()
        thread.join()


def is_away(uri):
    """Whether a store is taken for away: what it was told is kept, and told again."""
    with pytest.raises(Exception, match=r".") as caught:
        MlflowClient(uri).log_metric("0" * 32, "loss", 1.0)
    later = passes(caught.value)
    assert isinstance(told(caught.value, uri), StoreAway) == later
    return later


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, None])
def test_a_server_that_cannot_answer_now_is_away(server, status):
    uri, answer = server
    answer |= {"status": status, "body": {}}
    assert is_away(uri)


def test_a_server_that_is_not_there_is_away(server):
    assert is_away(NOWHERE)


@pytest.mark.parametrize(
    ("status", "code"), [(404, "RESOURCE_DOES_NOT_EXIST"), (400, "INVALID_PARAMETER_VALUE")]
)
def test_a_server_that_refuses_is_not_away(server, status, code):
    uri, answer = server
    answer |= {"status": status, "body": {"error_code": code, "message": "so it is"}}
    assert not is_away(uri)
