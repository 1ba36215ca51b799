"""`tf-recall serve` as a process: its ready line, its end, and what it refuses in one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from click.testing import CliRunner

from tf_recall.cli import main


@pytest.fixture
def process(exports, tmp_path):
    """The command, ready; and its addresses."""
    command = [sys.executable, "-m", "tf_recall.cli", "serve", str(exports / "two_tower"), "--ui"]
    ports = ["--rest-port", "0", "--grpc-port", "0"]
    env = {**os.environ, "TF_RECALL_API_KEY": "secret"}
    with open(tmp_path / "log", "wb") as log:
        child = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=log, env=env)
    try:
        line = child.stdout.readline()
        assert line, (tmp_path / "log").read_text()
        yield child, json.loads(line)
    finally:
        child.kill()
        child.wait()


def test_it_answers_and_ends_when_its_requests_are_answered(process, columns, tmp_path):
    child, addresses = process
    assert addresses["page"] == f"{addresses['rest']}/docs"
    assert "tf_recall" in httpx.get(addresses["ui"]).text
    bearer = {"authorization": "Bearer secret"}
    body = json.dumps({"inputs": columns()}).encode()
    head = (
        "POST /v1/models/two_tower:predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer secret\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, port = addresses["rest"].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as slow:
        slow.sendall(head.encode() + body[:9])
        with httpx.Client(base_url=addresses["rest"], timeout=30) as client:
            assert client.get("/v1/models/two_tower", headers=bearer).status_code == 200
            assert client.get("/v1/models/two_tower").status_code == 401
        child.send_signal(signal.SIGTERM)
        for _ in range(1000):
            if "stopping" in (tmp_path / "log").read_text():
                break
            time.sleep(0.01)
        slow.sendall(body[9:])
        assert slow.recv(20).startswith(b"HTTP/1.1 200")
    rest, _ = child.communicate(timeout=60)
    assert child.returncode == 0 and json.loads(rest) == {"stopped": True}
    lines = (tmp_path / "log").read_text().splitlines()
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    requests = [each for each in logged if each["message"] == "request"]
    assert all(
        {"request_id", "status", "ms", "path", "time", "level"} <= set(each) for each in requests
    )
    assert [each["message"] for each in logged][-1] == "stopped"
    assert "secret" not in (tmp_path / "log").read_text()


def refused(*arguments):
    result = CliRunner().invoke(main, ["serve", *map(str, arguments)])
    assert result.exit_code == 1 and result.stderr.count("\n") == 1, result.output
    return result.stderr


def test_what_it_refuses(tmp_path, exports, monkeypatch):
    free = ("--rest-port", 0, "--grpc-port", 0)
    monkeypatch.setattr("tf_recall.serving.logs.log_as_json", lambda level: None)
    assert "is no folder: give one of exports" in refused(tmp_path / "nowhere", *free)
    assert "no export in" in refused(tmp_path, *free)
    (tmp_path / "a" / "1").mkdir(parents=True)
    (tmp_path / "a" / "1" / "saved_model.pb").touch()
    assert "nothing to serve in" in refused(tmp_path, *free)
    assert "both or none" in refused(exports, "--tls-cert", "a.pem")
    (tmp_path / "films.csv").write_text("title\nOne\n")
    assert "no column item_id; it has title" in refused(
        exports, *free, "--items", tmp_path / "films.csv"
    )
    assert "the limit batch must be at least 1" in refused(exports, "--batch", 0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(exports, "--rest-port", port, "--grpc-port", 0)
        assert f"cannot listen on 127.0.0.1:{port}" in said and "--rest-port" in said
        said = refused(exports, "--rest-port", 0, "--grpc-port", port)
        assert f"cannot listen on 127.0.0.1:{port}" in said and "--grpc-port" in said
    for name in ("cert", "key"):
        (tmp_path / name).write_text("nonsense")
    tls = ("--tls-cert", tmp_path / "cert", "--tls-key", tmp_path / "key")
    assert "certificate" in refused(exports, *free, *tls)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    for name in [
        each for each in sys.modules if each.startswith(("tf_recall.serving.", "fastapi"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install 'tf_recall[serve]'" in refused(tmp_path)
