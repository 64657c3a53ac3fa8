"""The token server: over real sockets, its tokens used at the real livekit-server."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from conftest import keyless
from livekit import rtc
from livekit.api import ListRoomsRequest, LiveKitAPI
from pydantic import SecretStr

from faqlab import __version__
from faqlab.errors import FaqlabError
from faqlab.voice import token_server
from faqlab.voice.livekit_server import LiveKit
from faqlab.voice.token_server import TokenServer

SECRET = "a-secret-that-must-never-be-seen-anywhere"
NOWHERE = LiveKit("ws://127.0.0.1:9", "the-key-itself", SECRET)

Serve = Callable[..., httpx.Client]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<title>Ask the FAQ</title>")
    (tmp_path / "dist" / "assets" / "page-1a2b.js").write_text("talk()")
    (tmp_path / "secret").write_text("hidden")
    return tmp_path / "dist"


@pytest.fixture
def serve(page: Path) -> Iterator[Serve]:
    """Run a token server on a free port, with some settings changed, and return a client of it."""
    with ExitStack() as running:

        def start(livekit: LiveKit = NOWHERE, **changed: Any) -> httpx.Client:
            settings = keyless().model_copy(update=changed)
            server = running.enter_context(TokenServer(livekit, settings, port=0, page=page))
            return running.enter_context(httpx.Client(base_url=server.url, trust_env=False))

        yield start


def claims(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, SECRET, algorithms=["HS256"]))


# What a token allows


def test_a_token_lets_one_caller_speak_and_type_in_one_room_and_no_more(serve: Serve) -> None:
    answer = serve().get("/getToken")
    assert answer.status_code == 200
    assert answer.json().keys() == {"token", "url"}
    assert answer.json()["url"] == NOWHERE.url
    granted = claims(answer.json()["token"])
    assert granted["video"] == {
        "roomJoin": True,
        "room": granted["video"]["room"],
        "canPublish": True,
        "canPublishSources": ["microphone"],
        "canSubscribe": True,
        "canPublishData": True,
    }
    assert granted["roomConfig"]["agents"] == [{"agentName": "faqlab"}]
    assert not granted.get("name") and not granted.get("metadata") and not granted.get("attributes")


def test_every_caller_has_a_new_identity_and_a_room_that_cannot_be_guessed(serve: Serve) -> None:
    client = serve()
    given = [claims(client.get("/getToken").json()["token"]) for _ in range(20)]
    assert len({c["sub"] for c in given}) == len({c["video"]["room"] for c in given}) == 20
    assert all(len(bytes.fromhex(c["video"]["room"].removeprefix("faq-"))) >= 16 for c in given)


def test_a_token_can_be_used_for_ten_minutes_or_as_long_as_set(serve: Serve) -> None:
    for client, seconds in (serve(), 600), (serve(token_minutes=0.5), 30):
        before = int(time.time())
        granted = claims(client.get("/getToken").json()["token"])
        assert before + seconds <= granted["exp"] <= time.time() + seconds


def test_a_room_is_for_one_caller_and_ends_if_none_is_in_it(serve: Serve) -> None:
    room = claims(serve().get("/getToken").json()["token"])["roomConfig"]
    assert (room["emptyTimeout"], room["departureTimeout"], room["maxParticipants"]) == (20, 20, 2)


# How many tokens there are


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock, which stands still; a new window of a minute began half a second ago."""
    now = [1_800_000_000.5]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_an_address_gets_no_more_tokens_a_minute_than_set_and_reads_when_it_may_try_again(
    serve: Serve, clock: list[float]
) -> None:
    client = serve(tokens_per_minute=3)
    assert [client.get("/getToken").status_code for _ in range(3)] == [200] * 3
    for refused in (client.get("/getToken"), client.get("/getToken")):
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
        assert refused.json()["detail"] == "Too many tokens were requested in the last minute; try again in 60 s."
    assert client.get("/").status_code == client.get("/health").status_code == 200
    clock[0] += 60
    assert client.get("/getToken").status_code == 200


def test_each_address_has_its_own_share_and_all_together_have_ten(serve: Serve, clock: list[float]) -> None:
    client = serve(tokens_per_minute=1)
    statuses = [
        client.get("/getToken", headers={"X-Forwarded-For": f"evil, 203.0.113.{n}"}).status_code
        for n in (0, 0, *range(1, 12))
    ]
    assert statuses == [200, 429, *[200] * 9, 429, 429]


def test_a_clock_that_is_set_back_locks_nobody_out(serve: Serve, clock: list[float]) -> None:
    client = serve(tokens_per_minute=1)
    assert [client.get("/getToken").status_code for _ in range(2)] == [200, 429]
    clock[0] -= 3600
    assert client.get("/getToken").status_code == 200


# What the real server makes of it


async def test_a_caller_joins_and_speaks_and_the_agent_is_called(serve: Serve, livekit_server: LiveKit) -> None:
    given = serve(livekit_server, agent_name="test-agent").get("/getToken").json()
    room = rtc.Room()
    await room.connect(given["url"], given["token"])
    try:
        track = rtc.LocalAudioTrack.create_audio_track("microphone", rtc.AudioSource(48000, 1))
        microphone = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await room.local_participant.publish_track(track, microphone)
        async with LiveKitAPI(livekit_server.url, livekit_server.api_key, livekit_server.api_secret) as api:
            dispatches = await api.agent_dispatch.list_dispatch(room.name)
            [found] = (await api.room.list_rooms(ListRoomsRequest(names=[room.name]))).rooms
        assert [d.agent_name for d in dispatches] == ["test-agent"]
        assert (found.empty_timeout, found.departure_timeout, found.max_participants) == (20, 20, 2)
    finally:
        await room.disconnect()


def tampered(token: str) -> str:
    head, body, signature = token.split(".")
    granted = json.loads(base64.urlsafe_b64decode(body + "=="))
    granted["video"]["room"] = "somebody-elses"
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(granted).encode()).decode().rstrip("="), signature])


def test_the_server_accepts_a_fresh_token_and_no_expired_or_changed_one(serve: Serve, livekit_server: LiveKit) -> None:
    fresh = serve(livekit_server).get("/getToken").json()["token"]
    expired = serve(livekit_server, token_minutes=-2).get("/getToken").json()["token"]  # a minute more is allowed
    validate = livekit_server.url.replace("ws", "http", 1) + "/rtc/validate"
    statuses = [
        httpx.get(validate, params={"access_token": token, "protocol": "16"}, trust_env=False).status_code
        for token in (fresh, expired, tampered(fresh))
    ]
    assert statuses == [200, 401, 401]


def test_health_says_whether_livekit_answers_and_accepts_our_key(serve: Serve, livekit_server: LiveKit) -> None:
    stranger = LiveKit(livekit_server.url, livekit_server.api_key, SECRET)
    for livekit, answers in (livekit_server, True), (stranger, False), (NOWHERE, False):
        answer = serve(livekit).get("/health")
        assert answer.json() == {"status": "ok", "version": __version__, "livekit": answers}


@pytest.mark.parametrize("frozen", ["the server", "the name service"])
def test_health_is_answered_even_if_livekit_never_is(
    serve: Serve, frozen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, resolve = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        return found.wait() if host == "nobody-knows.example" else resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made, but never answered
        host = f"127.0.0.1:{silent.getsockname()[1]}" if frozen == "the server" else "nobody-knows.example"
        try:
            answer = serve(LiveKit(f"ws://{host}", "key", SECRET)).get("/health", timeout=60)
        finally:
            found.set()
    assert (answer.status_code, answer.json()["livekit"]) == (200, False)


# Who is refused


def test_names_that_point_here_are_refused_except_those_of_loopback_and_of_the_settings(serve: Serve) -> None:
    client = serve(allowed_hosts=("faq.example.com",))
    for host in ("127.0.0.1", "localhost", "localhost:8888", "LOCALHOST:8000", "faq.example.com"):
        assert client.get("/getToken", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example", "192.168.1.7:8000", "", "[", "localhost.x", "example.com"):
        for path in ("/", "/getToken", "/health", "/openapi.json"):
            answer = client.get(path, headers={"Host": host})
            assert (answer.status_code, "token" in answer.text) == (400, False)


def test_a_page_of_another_origin_cannot_read_a_token(serve: Serve) -> None:
    client = serve()
    for origin in ("https://evil.example", "http://127.0.0.1:1", "http://localhost", "null", ""):
        for method in ("GET", "POST", "OPTIONS"):
            answer = client.request(method, "/getToken", headers={"Origin": origin})
            assert "access-control-allow-origin" not in answer.headers  # so its browser keeps the answer from it
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_itself_may_ask_and_other_origins_by_setting(serve: Serve) -> None:
    client, other = serve(allowed_origins=("https://faq.example.com",)), {"Origin": "https://faq.example.com"}
    for name in "127.0.0.1", "localhost":
        host = f"{name}:{client.base_url.port}"
        assert client.get("/getToken", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200
    assert client.get("/getToken", headers=other).headers["access-control-allow-origin"] == other["Origin"]
    preflight = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "accept"}
    assert client.options("/getToken", headers=other | preflight).status_code == 200
    assert other["Origin"] in client.get("/").headers["content-security-policy"]


def test_a_wrong_method_is_refused(serve: Serve) -> None:
    client = serve()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/getToken", content=b"{" * 100_000).status_code == 405


def connect(client: httpx.Client, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=60)
    connection.sendall(sent)
    return connection


def test_beyond_so_many_connections_requests_are_refused_until_some_are_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_server, "MAX_CONNECTIONS", 4)
    client = serve()
    with ExitStack() as open_ones:
        for _ in range(4):
            open_ones.enter_context(connect(client))
        assert client.get("/").status_code == 503
    while client.get("/").status_code == 503:
        time.sleep(0.05)


def test_requests_that_are_no_http_do_not_fill_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with connect(serve(), b"\x16\x03\x01\r\n\r\n") as connection:
        assert connection.recv(12) == b"HTTP/1.1 400"
    assert caplog.text == ""


def test_a_body_that_nobody_asked_for_is_ignored(serve: Serve) -> None:
    client, body = serve(), b"x" * 16_384
    for path in ("/", "/assets/page-1a2b.js", "/config", "/getToken"):
        for content in (body, iter([body])):
            assert client.request("GET", path, content=content).status_code == 200


# What the page says


def shop(folder: Path, *entries: tuple[str, str]) -> Path:
    """An FAQ with these categories and questions."""
    path = folder / "shop.json"
    path.write_text(json.dumps({"questions": [{"category": c, "question": q, "answer": "Yes."} for c, q in entries]}))
    return path


def test_the_page_gets_the_first_question_of_each_of_the_first_categories(serve: Serve, tmp_path: Path) -> None:
    entries = [("small", "Is it small?"), *(("large", f"Is it {n} metres large?") for n in range(3))]
    entries += [(f"other {n}", f"Is it another {n}?") for n in range(9)]
    shown = serve(faqs=shop(tmp_path, *entries)).get("/config").json()
    assert shown["examples"] == ["Is it small?", "Is it 0 metres large?", "Is it another 0?", "Is it another 1?"]


def test_without_categories_the_page_gets_the_first_questions(serve: Serve, tmp_path: Path) -> None:
    entries = [("", f"Is it {n}?") for n in range(9)]
    shown = serve(faqs=shop(tmp_path, *entries), title="Ask Ada").get("/config").json()
    assert (shown["title"], shown["examples"]) == ("Ask Ada", [f"Is it {n}?" for n in range(4)])


def test_without_the_faq_the_page_gets_no_questions(serve: Serve, tmp_path: Path) -> None:
    assert serve(faqs=tmp_path / "none.json").get("/config").json()["examples"] == []


def test_the_page_is_told_who_receives_what_callers_say(serve: Serve, tmp_path: Path) -> None:
    here = serve().get("/config").json()
    assert (here["gemini"], here["server"], here["saved"]) == (False, None, False)
    cloud = LiveKit("wss://shop.livekit.cloud", "the-key-itself", SECRET)
    answer = serve(cloud, google_api_key=SecretStr("google's key"), records=tmp_path).get("/config")
    assert (answer.json()["gemini"], answer.json()["server"], answer.json()["saved"]) == (
        True,
        "shop.livekit.cloud",
        True,
    )
    assert "google's key" not in answer.text


# What every answer carries


def test_nothing_that_is_answered_or_logged_holds_a_key(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = serve()
    answers = [client.get(path) for path in ("/", "/getToken", "/health", "/openapi.json", "/docs", "/nothing")]
    answers += [client.post("/getToken", content=b"{"), client.get("/getToken", headers={"Host": "x"})]
    seen = "".join(answer.text + str(answer.headers) for answer in answers) + caplog.text
    assert SECRET not in seen and NOWHERE.api_key not in seen  # in the token it is encoded
    assert answers[1].json()["token"] not in caplog.text


def test_tokens_are_not_cached_and_every_answer_is_hardened(serve: Serve) -> None:
    client = serve()
    refused = client.get("/getToken", headers={"Host": "x"})
    for answer in (client.get("/getToken"), client.post("/getToken"), client.get("/"), client.get("/x"), refused):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "microphone=(self)" in answer.headers["permissions-policy"]
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["connect-src"] == "'self' ws://127.0.0.1:9 http://127.0.0.1:9"
        assert policy["frame-ancestors"] == "'self' http://127.0.0.1:* http://localhost:*"
        assert "x-frame-options" not in answer.headers


def test_a_cloud_project_may_send_the_page_on_to_its_regions(serve: Serve) -> None:
    answer = serve(LiveKit("wss://faq.livekit.cloud", "key", SECRET)).get("/")
    allowed = "connect-src 'self' wss://*.livekit.cloud https://*.livekit.cloud;"
    assert allowed in answer.headers["content-security-policy"]


def test_it_describes_itself(serve: Serve) -> None:
    described = serve().get("/openapi.json").json()
    assert described["paths"].keys() == {"/getToken", "/config", "/health"}
    assert "200" in described["paths"]["/getToken"]["get"]["responses"]


# The page


def test_the_page_and_its_assets_are_served(serve: Serve) -> None:
    client = serve()
    assert "Ask the FAQ" in client.get("/").text
    script = client.get("/assets/page-1a2b.js")
    assert script.text == "talk()"
    assert "javascript" in script.headers["content-type"]


def test_a_path_to_nothing_or_out_of_the_page_is_not_found(serve: Serve) -> None:
    client = serve()
    for name in ("..%2f..%2fsecret", "%2e%2e/%2e%2e/secret", "..%5csecret", "%2e%2e", "%00", "x" * 256, "x" * 5000, ""):
        answer = client.get(f"/assets/{name}")
        assert answer.status_code in (307, 404) and "hidden" not in answer.text


def test_a_page_that_is_being_rebuilt_is_not_found(serve: Serve, page: Path, caplog: pytest.LogCaptureFixture) -> None:
    client, paths = serve(), ("/", "/assets/page-1a2b.js")
    assert [client.get(path).status_code for path in paths] == [200, 200]
    shutil.rmtree(page)
    assert [client.get(path).status_code for path in paths] == [404, 404]
    assert caplog.text == ""


def test_a_page_that_is_not_built_is_an_error_that_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(FaqlabError, match=r"the page isn't built yet; run `make build`"):
        TokenServer(NOWHERE, keyless(), page=tmp_path).start()


# Ports, threads, signals


def test_a_port_that_is_taken_is_an_error_that_names_it(page: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = TokenServer(NOWHERE, keyless(), port, page)
        with pytest.raises(FaqlabError, match=str(port)):
            server.start()
    with server:  # now it is free
        assert server.url == f"http://127.0.0.1:{port}/"


def test_by_default_the_next_free_port_is_taken(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ports(count: int) -> list[int]:
        with ExitStack() as running:
            servers = [running.enter_context(TokenServer(NOWHERE, keyless(), page=page)) for _ in range(count)]
            return [httpx.URL(server.url).port or 0 for server in servers]

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(token_server, "PORTS", range(port, port + 100))
        first, second = ports(2)
        assert port < first < second
        monkeypatch.setattr(token_server, "PORTS", range(port, port + 1))
        with pytest.raises(FaqlabError, match="free"):
            ports(1)


def test_it_starts_again_and_leaves_thread_port_and_signals_as_they_were(page: Path) -> None:
    server, before = TokenServer(NOWHERE, keyless(), 0, page), set(threading.enumerate())
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    for _ in range(2):
        with server, httpx.Client(base_url=server.url, trust_env=False) as client:
            assert server.start() is server
            assert client.get("/getToken").status_code == client.get("/").status_code == 200
            address = ("127.0.0.1", client.base_url.port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
    server.stop()
    assert server.problem is None
    for thread in set(threading.enumerate()) - before:  # anyio's, which read files, end a moment later
        thread.join()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_an_interrupted_start_leaves_no_thread_and_no_port(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        begun.append(thread)
        raise KeyboardInterrupt

    server = TokenServer(NOWHERE, keyless(), 0, page)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.start()
    [thread] = begun
    thread.start()  # where the interrupt came before it had begun
    thread.join()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", httpx.URL(server.url).port))


def test_a_server_that_ends_by_itself_says_so(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(server: Any, sockets: Any) -> None:
        raise OSError("out of files")

    monkeypatch.setattr(token_server.uvicorn.Server, "serve", fail)
    server = TokenServer(NOWHERE, keyless(), 0, page).start()
    thread = server._thread
    assert thread is not None
    thread.join()
    assert server.problem == "The token server stopped unexpectedly (out of files)."
    server.stop()
    assert server.problem is None


async def test_an_owner_with_a_running_loop_can_start_and_stop_it(page: Path) -> None:
    with TokenServer(NOWHERE, keyless(), 0, page) as server:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            assert (await client.get("/getToken")).status_code == 200
