"""The server shows one page, to this machine, to who calls it by its name."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection

import pytest

from thetadot.errors import ThetadotError
from thetadot.records import Writer
from thetadot.report import serve
from thetadot.report.embed import script
from thetadot.report.serve import LOOPBACK, FolderWatch, Server

from . import conftest, watched

FEW = ("embedding", "head")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "run"
    conftest.put(place, watched.header(layers=FEW), watched.body(FEW, every=100))
    (place / "secret.txt").write_text("a secret")
    return place


@pytest.fixture(scope="module")
def server(folder):
    with Server(FolderWatch([folder])) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield running
        running.shutdown()


def ask(server, path="/", method="GET", **headers):
    connection = HTTPConnection(LOOPBACK, server.server_port, timeout=120)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer, answer.read().decode()
    finally:
        connection.close()


def test_it_listens_on_the_loopback_only(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/"


def test_the_page_may_ask_its_server_and_nobody_else(server):
    answer, page = ask(server)
    assert answer.status == 200
    assert "connect-src &#39;self&#39;;" in page
    assert page.count("connect-src") == 1
    assert "default-src &#39;none&#39;" in page
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_open_page_gets_the_news_without_the_large_script(server):
    whole, fresh = ask(server)[1], ask(server, "/fresh")[1]
    assert fresh == whole.replace(script(), "")
    assert len(fresh) < len(whole) - 1_000_000
    assert len(ask(server, "/state.json")[1]) < 100


@pytest.mark.parametrize(
    "path",
    ["/secret.txt", "/../secret.txt", "/run/secret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/etc/passwd",
     "/record.jsonl", "/state.json/../secret.txt", "/?x", "http://elsewhere/"],
)  # fmt: skip
def test_no_path_leads_to_a_file(server, path):
    answer, said = ask(server, path)
    assert answer.status == (421 if path.startswith("http") else 404)
    assert "secret" not in said


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "INVENTED"])
def test_only_get_and_head(server, method):
    answer, _ = ask(server, method=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


def test_head_has_no_body_and_the_same_length(server):
    answer, body = ask(server, method="HEAD")
    assert (answer.status, body) == (200, "")
    assert int(answer.headers["Content-Length"]) == len(ask(server)[1].encode())


@pytest.mark.parametrize("host", ["evil.example:{port}", "evil.example", "127.0.0.1", "127.0.0.1:1", "", "localhost",
                                  "localhost:{port}.evil.example", "10.0.0.1:{port}"])  # fmt: skip
def test_a_name_of_elsewhere_is_refused(server, host):
    answer, said = ask(server, Host=host.format(port=server.server_port))
    assert answer.status == 421
    assert "<html" not in said


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_its_own_names_are_admitted(server, host):
    assert ask(server, "/state.json", Host=host.format(port=server.server_port))[0].status == 200


def test_the_stamp_changes_with_the_record_and_the_page_with_it(server, folder):
    stamp, page = json.loads(ask(server, "/state.json")[1])["stamp"], ask(server)[1]
    assert json.loads(ask(server, "/state.json")[1])["stamp"] == stamp
    assert ask(server)[1] == page, "nothing new, nothing drawn"
    record = folder / "record.jsonl"
    with Writer(record, record.stat().st_size) as writer:
        writer.write(watched.end(7777))
    assert json.loads(ask(server, "/state.json")[1])["stamp"] != stamp
    assert "watched over 7,777 steps" in re.sub("<[^>]*>", "", ask(server)[1])


def test_a_record_that_vanished_is_said_and_the_server_lives(tmp_path):
    record = conftest.put(tmp_path / "run", watched.header(layers=FEW), ())
    with Server(FolderWatch([record.path])) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        kept = record.path.read_bytes()
        record.path.unlink()
        answer, said = ask(server)
        assert answer.status == 503
        assert "cannot be read" in said
        record.path.write_bytes(kept)
        assert ask(server)[0].status == 200
        server.shutdown()


def test_a_client_that_says_nothing_or_nonsense_stops_nobody(server):
    silent = socket.create_connection((LOOPBACK, server.server_port))
    with socket.create_connection((LOOPBACK, server.server_port)) as rude:
        rude.sendall(b"\x00\xff nonsense\r\n\r\n")
        rude.settimeout(120)
        assert b"400" in rude.recv(4096)
    assert ask(server, "/state.json")[0].status == 200
    silent.close()


def test_a_client_that_drips_its_request_is_cut_at_one_deadline(folder, monkeypatch):
    monkeypatch.setattr(serve, "PATIENCE", 0.5)
    with Server(FolderWatch([folder])) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with socket.create_connection((LOOPBACK, running.server_port), timeout=60) as dripping:
            sent = 0
            with suppress(ConnectionError):
                for letter in b"GET / HTTP/1.1\r\nX: " + b"x" * 500:
                    dripping.sendall(bytes([letter]))
                    sent += 1
                    time.sleep(0.02)
            assert sent < 500  # at a fiftieth of a second a letter, silence never lasts half a second
        assert ask(running, "/state.json")[0].status == 200
        running.shutdown()


@pytest.mark.slow
def test_two_hundred_clients_are_answered_at_once(server):
    """All connect before any asks; each gets the whole page."""
    clients = [socket.create_connection((LOOPBACK, server.server_port), timeout=120) for _ in range(200)]
    found = []

    def read(client):
        client.sendall(f"GET /fresh HTTP/1.1\r\nHost: {LOOPBACK}:{server.server_port}\r\n\r\n".encode())
        with client, client.makefile("rb") as stream:
            found.append((stream.readline(), len(stream.read())))

    readers = [threading.Thread(target=read, args=(client,)) for client in clients]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(found) == 200
    assert len(set(found)) == 1
    assert b"200 OK" in found[0][0]


def test_a_port_that_is_taken_is_one_sentence(server, folder):
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(ThetadotError, match="Pass another --port"):
        Server(FolderWatch([folder]), port=taken.getsockname()[1])
