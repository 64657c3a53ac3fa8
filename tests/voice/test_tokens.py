"""The token server: over real sockets, its tokens taken to the real livekit-server."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from livekit import rtc
from livekit.api import LiveKitAPI

from faqlab import __version__
from faqlab.errors import FaqlabError
from faqlab.voice import tokens
from faqlab.voice.sfu import LiveKit
from faqlab.voice.tokens import TokenOptions, TokenServer

SECRET = "a-secret-that-must-never-be-seen-anywhere"
NOWHERE = LiveKit("ws://127.0.0.1:9", "the-key-itself", SECRET, local=True)

Serve = Callable[..., httpx.Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Run a token server on a free port and return a client of it."""
    with ExitStack() as running:

        def start(livekit: LiveKit = NOWHERE, **options: Any) -> httpx.Client:
            server = running.enter_context(TokenServer(livekit, TokenOptions(**options), port=0))
            return running.enter_context(httpx.Client(base_url=server.url, trust_env=False))

        yield start


def claims(token: str, secret: str = SECRET) -> dict[str, Any]:
    return dict(jwt.decode(token, secret, algorithms=["HS256"]))


# What a token allows


def test_a_token_grants_a_voice_in_one_room_and_no_more(serve: Serve) -> None:
    answer = serve().get("/getToken")
    assert answer.status_code == 200
    assert answer.json().keys() == {"token", "url"}
    assert answer.json()["url"] == NOWHERE.url
    told = claims(answer.json()["token"])
    assert told["video"] == {
        "roomJoin": True,
        "room": told["video"]["room"],
        "canPublish": True,
        "canPublishSources": ["microphone"],
        "canSubscribe": True,
        "canPublishData": False,
    }
    assert told.keys() == {"iss", "sub", "nbf", "exp", "video", "roomConfig"}
    assert told["roomConfig"]["agents"] == [{"agentName": "faqlab"}]


def test_every_caller_has_an_identity_and_an_unguessable_room_of_its_own(serve: Serve) -> None:
    client = serve()
    given = [claims(client.get("/getToken").json()["token"]) for _ in range(20)]
    assert len({c["sub"] for c in given}) == len({c["video"]["room"] for c in given}) == 20
    assert all(len(bytes.fromhex(c["video"]["room"].removeprefix("faq-"))) >= 16 for c in given)


def test_a_token_lives_for_ten_minutes_or_as_set(serve: Serve) -> None:
    for client, seconds in (serve(), 600), (serve(ttl=timedelta(seconds=30)), 30):
        told = claims(client.get("/getToken").json()["token"])
        assert told["exp"] == pytest.approx(time.time() + seconds, abs=5)
        assert told["nbf"] <= time.time()


def test_the_standard_endpoint_answers_201_and_passes_on_what_the_caller_is(serve: Serve) -> None:
    answer = serve(agent_name="other").post(
        "/getToken",
        json={
            "participant_name": "Ada",
            "participant_metadata": "from the help page",
            "participant_attributes": {"language": "en"},
        },
    )
    assert answer.status_code == 201
    assert answer.json().keys() == {"server_url", "participant_token"}
    assert answer.json()["server_url"] == NOWHERE.url
    told = claims(answer.json()["participant_token"])
    assert (told["name"], told["metadata"], told["attributes"]) == ("Ada", "from the help page", {"language": "en"})
    assert told["roomConfig"]["agents"] == [{"agentName": "other"}]


@pytest.mark.parametrize("body", [None, {}, {"room_name": None}, {"room_name": "", "participant_identity": ""}])
def test_the_standard_endpoint_asks_for_nothing(serve: Serve, body: dict[str, Any] | None) -> None:
    answer = serve().post("/getToken", json=body) if body is not None else serve().post("/getToken")
    assert answer.status_code == 201


@pytest.mark.parametrize("asked", [{"room_name": "faq-1"}, {"participant_identity": "somebody"}])
def test_nobody_can_ask_for_the_room_or_identity_of_another(serve: Serve, asked: dict[str, str]) -> None:
    answer = serve().post("/getToken", json=asked)
    assert answer.status_code == 403
    assert "room_name" in answer.json()["detail"]


def test_by_setting_callers_choose_room_and_identity(serve: Serve) -> None:
    answer = serve(allow_choice=True).post("/getToken", json={"room_name": "ours", "participant_identity": "me"})
    told = claims(answer.json()["participant_token"])
    assert (told["video"]["room"], told["sub"]) == ("ours", "me")


def test_by_setting_all_callers_share_one_room_and_still_have_their_own_identity(serve: Serve) -> None:
    client = serve(fixed_room="my-room")
    given = [claims(client.get("/getToken").json()["token"]) for _ in range(2)]
    assert [c["video"]["room"] for c in given] == ["my-room", "my-room"]
    assert given[0]["sub"] != given[1]["sub"]
    assert client.post("/getToken", json={"room_name": "my-room"}).status_code == 201
    assert client.post("/getToken", json={"room_name": "another"}).status_code == 403


# What the real server makes of it


async def publish(room: rtc.Room, source: rtc.TrackSource.ValueType) -> None:
    track = rtc.LocalAudioTrack.create_audio_track("a", rtc.AudioSource(48000, 1))
    await asyncio.wait_for(room.local_participant.publish_track(track, rtc.TrackPublishOptions(source=source)), 3)


async def test_a_caller_joins_speaks_and_has_the_agent_called(serve: Serve, livekit_server: LiveKit) -> None:
    given = serve(livekit_server, agent_name="test-agent").get("/getToken").json()
    room = rtc.Room()
    await room.connect(given["url"], given["token"])
    try:
        await publish(room, rtc.TrackSource.SOURCE_MICROPHONE)
        async with LiveKitAPI(livekit_server.url, livekit_server.api_key, livekit_server.api_secret) as api:
            dispatches = await api.agent_dispatch.list_dispatch(room.name)
        assert [d.agent_name for d in dispatches] == ["test-agent"]
    finally:
        await room.disconnect()


async def test_a_caller_can_publish_neither_a_screen_nor_data(serve: Serve, livekit_server: LiveKit) -> None:
    given = serve(livekit_server).get("/getToken").json()
    room, other = rtc.Room(), rtc.Room()
    received: list[rtc.DataPacket] = []
    other.on("data_received", received.append)
    await room.connect(given["url"], given["token"])
    shared = serve(livekit_server, fixed_room=room.name).get("/getToken").json()
    await other.connect(shared["url"], shared["token"])
    try:
        with pytest.raises((rtc.participant.PublishTrackError, asyncio.TimeoutError)):
            await publish(room, rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO)
        with suppress(rtc.participant.PublishDataError, TimeoutError):
            await asyncio.wait_for(room.local_participant.publish_data(b"hello"), 2)
        await asyncio.sleep(0.5)
        assert not received
    finally:
        await room.disconnect()
        await other.disconnect()


def tampered(token: str) -> str:
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    told["video"]["room"] = "somebody-elses"
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("="), signature])


async def refused(url: str, token: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            url.replace("ws", "http", 1) + "/rtc/validate", params={"access_token": token, "protocol": "16"}
        )
    room = rtc.Room()
    try:
        await asyncio.wait_for(room.connect(url, token, rtc.RoomOptions(connect_timeout=2)), 8)
    except (rtc.ConnectError, TimeoutError):
        return answer.status_code == 401
    await room.disconnect()
    return False


async def test_the_server_takes_a_fresh_token_and_refuses_one_expired_or_tampered_with(
    serve: Serve, livekit_server: LiveKit
) -> None:
    fresh = serve(livekit_server).get("/getToken").json()["token"]
    expired = serve(livekit_server, ttl=timedelta(seconds=-61)).get("/getToken").json()["token"]  # it allows a minute
    assert not await refused(livekit_server.url, fresh)
    assert await refused(livekit_server.url, expired)
    assert await refused(livekit_server.url, tampered(fresh))


def test_health_says_whether_livekit_answers_and_takes_our_key(serve: Serve, livekit_server: LiveKit) -> None:
    stranger = LiveKit(livekit_server.url, livekit_server.api_key, SECRET, local=True)
    for livekit, answers in (livekit_server, True), (stranger, False), (NOWHERE, False):
        answer = serve(livekit).get("/health")
        assert answer.json() == {"status": "ok", "version": __version__, "livekit": answers}


# Who may ask


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.7:8000", "", "[", "localhost.x"])
@pytest.mark.parametrize("path", ["/", "/getToken", "/health", "/openapi.json"])
def test_a_foreign_name_that_points_here_is_refused(serve: Serve, host: str, path: str) -> None:
    answer = serve().get(path, headers={"Host": host})
    assert answer.status_code in (400, 403)  # uvicorn itself refuses what is no name at all
    assert "token" not in answer.text
    if answer.status_code == 403:
        assert re.search(r"open it on its own machine as http://127\.0\.0\.1:\d+/, or add the name", answer.text)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:8888", "LOCALHOST:8000"])
def test_loopback_goes_by_its_names_at_any_port(serve: Serve, host: str) -> None:
    assert serve().get("/getToken", headers={"Host": host}).status_code == 200


def test_other_names_only_by_setting(serve: Serve) -> None:
    client = serve(allowed_hosts=("faq.example.com",))
    assert client.get("/getToken", headers={"Host": "faq.example.com"}).status_code == 200
    assert client.get("/getToken", headers={"Host": "example.com"}).status_code == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "http://localhost", "null", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_origin_is_refused(serve: Serve, origin: str, method: str) -> None:
    answer = serve().request(method, "/getToken", headers={"Origin": origin})
    assert answer.status_code == 403
    assert "origin" in answer.json()["detail"]
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_itself_may_ask(serve: Serve) -> None:
    client = serve()
    for name in "127.0.0.1", "localhost":
        host = f"{name}:{client.base_url.port}"
        assert client.post("/getToken", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 201


def test_another_origin_only_by_setting(serve: Serve) -> None:
    client = serve(allowed_origins=("https://faq.example.com",))
    asked = {"Origin": "https://faq.example.com"}
    assert client.get("/getToken", headers=asked).headers["access-control-allow-origin"] == asked["Origin"]
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert client.options("/getToken", headers=asked | preflight).status_code == 200
    assert client.get("/getToken", headers={"Origin": "https://evil.example"}).status_code == 403
    assert "https://faq.example.com" in client.get("/").headers["content-security-policy"]


# What is no request


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_a_wrong_method_is_refused(serve: Serve, method: str) -> None:
    answer = serve().request(method, "/getToken")
    assert answer.status_code == 405
    assert method == "HEAD" or answer.json() == {"detail": f"This address does not answer {method}."}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"room_config": {}}, "room_config"),
        ({"participant_name": 7}, "participant_name"),
        ({"participant_name": "x" * 129}, "participant_name"),
        ({"participant_metadata": "x" * 2049}, "participant_metadata"),
        ({"participant_attributes": {"a": 1}}, "participant_attributes"),
        ({"participant_attributes": {"lk.agent.state": "listening"}}, "LiveKit's own"),
        ({"participant_attributes": {str(n): "" for n in range(17)}}, "participant_attributes"),
        (["room"], "body"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_in_a_sentence(serve: Serve, body: Any, named: str) -> None:
    answer = serve().post("/getToken", json=body)
    assert answer.status_code == 422
    assert answer.json().keys() == {"detail"}
    assert named in answer.json()["detail"]


def test_what_is_not_json_is_refused_in_a_sentence(serve: Serve) -> None:
    client = serve()
    for body, kind in (b"{", "application/json"), (b'{"participant_name": "x"}', "text/plain"), (b"a=b", ""):
        answer = client.post("/getToken", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422
        assert isinstance(answer.json()["detail"], str)


def test_an_oversize_body_is_refused_unread_also_when_it_does_not_say_its_size(serve: Serve) -> None:
    client = serve()
    said = client.post("/getToken", json={"participant_metadata": "x" * tokens.MAX_BODY})
    assert (said.status_code, said.json().keys()) == (413, {"detail"})
    unsaid = client.post("/getToken", content=iter([b"{}"]), headers={"Content-Type": "application/json"})
    assert (unsaid.status_code, unsaid.json().keys()) == (411, {"detail"})


# What every answer carries


def test_nothing_that_is_answered_or_logged_holds_a_key(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = serve()
    answers = [client.get(path) for path in ("/", "/getToken", "/health", "/openapi.json", "/docs", "/nothing")]
    answers += [client.post("/getToken", content=b"{"), client.get("/getToken", headers={"Host": "x"})]
    seen = "".join(answer.text + str(answer.headers) for answer in answers) + caplog.text
    assert SECRET not in seen
    given = answers[1].json()["token"]
    assert NOWHERE.api_key not in seen  # in the token it is encoded, as its issuer
    assert given not in caplog.text


def test_tokens_are_not_cached_and_every_answer_is_hardened(serve: Serve, tmp_path: Path) -> None:
    client = serve(page=tmp_path)
    refused = client.get("/getToken", headers={"Host": "x"})
    for answer in client.get("/getToken"), client.post("/getToken"), client.get("/"), client.get("/x"), refused:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "microphone=(self)" in answer.headers["permissions-policy"]
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert policy["connect-src"] == "'self' ws://127.0.0.1:9 http://127.0.0.1:9"
        assert policy["frame-ancestors"] == "'self' http://127.0.0.1:* http://localhost:*"
        assert "x-frame-options" not in answer.headers


def test_a_cloud_project_may_send_the_page_on_to_its_regions() -> None:
    cloud = LiveKit("wss://faq.livekit.cloud", "key", SECRET, local=False)
    policy = tokens._headers(cloud, TokenOptions())["Content-Security-Policy"]
    assert "connect-src 'self' wss://*.livekit.cloud https://*.livekit.cloud;" in policy


def test_it_describes_itself(serve: Serve) -> None:
    described = serve().get("/openapi.json").json()
    assert described["paths"].keys() == {"/getToken", "/health"}
    assert "201" in described["paths"]["/getToken"]["post"]["responses"]
    assert "200" in described["paths"]["/getToken"]["get"]["responses"]


# The page


def test_a_page_that_is_not_built_says_how_to_build_it_and_comes_once_it_is(serve: Serve, tmp_path: Path) -> None:
    client = serve(page=tmp_path / "dist")
    missing = client.get("/")
    assert (missing.status_code, "make" in missing.text) == (503, True)
    assert client.get("/assets/page.js").status_code == 404

    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "dist" / "index.html").write_text("<title>Ask the FAQ</title>")
    (tmp_path / "dist" / "assets" / "page-1a2b.js").write_text("talk()")
    assert "Ask the FAQ" in client.get("/").text
    script = client.get("/assets/page-1a2b.js")
    assert script.text == "talk()"
    assert "javascript" in script.headers["content-type"]
    assert "immutable" in script.headers["cache-control"]
    assert client.get("/").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["..%2f..%2fsecret", "%2e%2e/%2e%2e/secret", "..%5csecret", "%2e%2e", "%00"])
def test_nothing_outside_the_page_is_served(serve: Serve, tmp_path: Path, name: str) -> None:
    (tmp_path / "dist" / "assets").mkdir(parents=True)
    (tmp_path / "secret").write_text("hidden")
    answer = serve(page=tmp_path / "dist").get(f"/assets/{name}")
    assert answer.status_code == 404
    assert "hidden" not in answer.text


# Ports, threads, signals


def test_an_explicit_port_that_is_taken_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = TokenServer(NOWHERE, port=port)
        with pytest.raises(FaqlabError, match=str(port)):
            server.start()
    with server:  # now it is free
        assert server.url == f"http://127.0.0.1:{port}/"


def test_by_default_the_next_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(tokens, "PORT", taken.getsockname()[1])
        with TokenServer(NOWHERE) as one, TokenServer(NOWHERE) as two:
            ports = [httpx.URL(server.url).port for server in (one, two)]
            assert tokens.PORT < ports[0] < ports[1] < tokens.PORT + tokens.PORTS_TRIED
        monkeypatch.setattr(tokens, "PORTS_TRIED", 1)
        with pytest.raises(FaqlabError, match="free"):
            TokenServer(NOWHERE).start()


def test_it_starts_again_and_leaves_thread_port_and_signals_as_they_were() -> None:
    server, threads = TokenServer(NOWHERE, port=0), threading.active_count()
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    for _ in range(2):
        with server, httpx.Client(base_url=server.url, trust_env=False) as client:
            assert server.start() == server.url
            assert client.get("/getToken").status_code == 200
            address = ("127.0.0.1", client.base_url.port)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with pytest.raises(RuntimeError):
            _ = server.url
    server.stop()
    assert threading.active_count() == threads
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


async def test_it_serves_in_the_main_thread_too_without_touching_its_signals() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    server = TokenServer(NOWHERE, port=0)
    url = server.bind()
    serving = asyncio.create_task(server.serve())
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/getToken")).status_code == 200
    assert signal.getsignal(signal.SIGTERM) is handler
    server.stop()
    await asyncio.wait_for(serving, 3)


def test_an_interrupt_as_soon_as_it_has_begun_leaves_no_thread_and_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def monotonic(self) -> float:
            raise KeyboardInterrupt

    server, threads = TokenServer(NOWHERE, port=0), set(threading.enumerate())
    monkeypatch.setattr(tokens, "time", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        server.start()
    assert "faqlab-tokens" not in [thread.name for thread in set(threading.enumerate()) - threads]
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


def test_an_interrupt_before_its_thread_has_begun_leaves_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        begun.append(thread)
        raise KeyboardInterrupt

    server = TokenServer(NOWHERE, port=0)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.start()
    [thread] = begun
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


def test_a_port_bound_and_never_served_is_given_back() -> None:
    server = TokenServer(NOWHERE, port=0)
    port = httpx.URL(server.bind()).port
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
