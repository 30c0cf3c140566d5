"""Who may speak with the server, and what a browser is told it may do."""

import asyncio
import contextlib
import random
import socket
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import ClientResponse
from test_web_pictures import png_bomb, write_video
from web_fakes import TOKEN, encoded, scene, serving, studio

from segjax.errors import SegjaxError
from segjax.web import certificates
from segjax.web.security import TOKEN_HEADER, Address, new_token
from segjax.web.server import listen

KEY = {TOKEN_HEADER: TOKEN}


# --- requests ---------------------------------------------------------------------------------


def test_every_answer_carries_the_policy() -> None:
    async def test() -> None:
        async with serving() as made:
            for path, status in (("/", 200), ("/worker.js", 200), ("/api/choices", 401),
                                 ("/nothing", 404), ("/stream", 400)):  # fmt: skip
                answer = await made.get(path, headers=made.own if path == "/stream" else {})
                assert (path, answer.status) == (path, status)
                told = answer.headers
                policy = told["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; ")
                assert "unsafe" not in policy and "frame-ancestors 'none'" in policy
                assert told["X-Content-Type-Options"] == "nosniff"
                assert told["Referrer-Policy"] == "no-referrer"
                assert told["Cache-Control"] == "no-store"
                assert "camera=(self), microphone=()" in told["Permissions-Policy"]
                assert told["Server"] == "segjax"

    asyncio.run(test())


def test_the_page_loads_nothing_from_elsewhere_and_holds_no_key() -> None:
    async def test() -> None:
        async with serving() as made:
            files = ("style.css", "app.js", "worker.js", "transport.js", "peer.js", "icon.svg")
            for path in ("/", *(f"/{name}" for name in files)):
                answer = await made.get(path)
                text = (await answer.text()).replace("http://www.w3.org/2000/svg", "")
                assert answer.status == 200
                assert TOKEN not in text
                assert "//" not in text.replace("// ", "").replace("`https://${location.host}", "")

    asyncio.run(test())


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "evil.example:80", "127.0.0.1.nip.io", ""]
)
def test_a_rebound_host_is_refused(host: str) -> None:
    async def test() -> None:
        async with serving() as made:
            answer = await made.get("/", headers={"Host": host})
            assert answer.status == 421
            assert "does not answer to that name" in await answer.text()

    asyncio.run(test())


@pytest.mark.parametrize(
    "key", [None, "", "0" * 32, TOKEN[:-1], TOKEN + "0", TOKEN.upper() + "x", "schlüssel"]
)
def test_a_missing_or_foreign_token_is_refused(key: str | None) -> None:
    async def test() -> None:
        async with serving() as made:
            given = {} if key is None else {TOKEN_HEADER: key}
            origin = {"Origin": made.own["Origin"]}
            for answer in (
                await made.get("/api/choices", headers=given),
                await made.get("/api/backgrounds/given-0", headers=given),
                await made.post("/api/backgrounds", data=b"x", headers=given | origin),
            ):
                assert answer.status == 401
                assert "the key is missing or old" in await answer.text()

    asyncio.run(test())


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1"]
)
def test_another_page_may_neither_post_nor_open_a_stream(origin: str | None) -> None:
    async def test() -> None:
        async with serving() as made:
            given = dict(KEY)
            if origin is not None:
                given["Origin"] = origin.format(port=made.port)
            answer = await made.post("/api/backgrounds", data=b"x", headers=given)
            assert answer.status == 403
            assert await answer.text() == "only this server's own page may do that"
            upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
            assert (await made.get("/stream", headers=given | upgrade)).status == 403

    asyncio.run(test())


def test_the_page_gets_its_choices_and_a_thumbnail() -> None:
    async def test() -> None:
        async with serving() as made:
            choices = await (await made.get("/api/choices", headers=KEY)).json()
            assert choices["models"] == ["red", "other"]
            assert choices["pictures"] == [{"id": "given-0", "name": "brick"}]
            answer = await made.get("/api/backgrounds/given-0", headers=KEY)
            assert answer.content_type == "image/jpeg"
            assert (await made.get("/api/backgrounds/other", headers=KEY)).status == 404

    asyncio.run(test())


def test_uploads_are_kept_only_if_they_are_pictures_of_a_fair_size(tmp_path: Path) -> None:
    def video(path: Path) -> bytes:
        write_video(path)
        return path.read_bytes()

    async def test() -> None:
        async with serving() as made:

            async def post(data: bytes) -> ClientResponse:
                return await made.post("/api/backgrounds", data=data, headers=made.own)

            answer = await post(encoded(".png", scene(40, 60)))
            assert answer.status == 201
            key = (await answer.json())["id"]
            assert (await made.get(f"/api/backgrounds/{key}", headers=KEY)).status == 200
            assert (await post(b"<svg xmlns='http://www.w3.org/2000/svg'/>")).status == 415
            assert (await post(video(tmp_path / "room.mp4"))).status == 415
            assert (await post(png_bomb(60_000, 60_000))).status == 413
            too_large = await post(b"\xff\xd8" + bytes(10 * 1024 * 1024))
            assert too_large.status == 413
            assert "more than 10 MB" in await too_large.text()

    asyncio.run(test())


def test_no_request_is_logged_with_its_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def test() -> None:
        async with serving() as made:
            await made.get("/api/choices", headers=KEY)
            await made.get(f"/api/choices?{TOKEN}", headers={TOKEN_HEADER: "no"})

    asyncio.run(test())
    assert TOKEN not in caplog.text


def test_who_leaves_too_soon_is_told_so_and_is_no_fault_of_the_server() -> None:
    shared = studio()

    def left(data: bytes) -> str:
        raise ConnectionResetError("Cannot write to closing transport")

    shared.pictures.add = left

    async def test() -> None:
        async with serving(shared) as made:
            answer = await made.post("/api/backgrounds", data=b"picture", headers=made.own | KEY)
            assert answer.status == 400
            assert await answer.text() == "the connection ended too soon; try again"
            assert answer.headers["Cache-Control"] == "no-store"

    asyncio.run(test())


def test_nonsense_gets_a_status_and_leaves_nothing_behind() -> None:
    """Requests with bytes changed, cut or repeated, at random but the same in every run."""
    chance = random.Random(7)

    def mutated(good: bytes) -> bytes:
        data = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(data))
            what = chance.randrange(4)
            if what == 0:
                data[place] = chance.randrange(256)
            elif what == 1:
                del data[place : place + chance.randrange(1, 9)]
            elif what == 2:
                data[place:place] = data[place : place + 20] * chance.randrange(1, 50)
            else:
                data[place:place] = bytes(chance.choices(range(256), k=chance.randrange(1, 20)))
        return bytes(data)

    def ask(port: int, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as there:
            there.sendall(data)
            there.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while part := there.recv(65536):
                    answer += part
            return answer

    async def test() -> None:
        async with serving() as made:
            port = made.port
            head = f"Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n".encode()
            head += f"{TOKEN_HEADER}: {TOKEN}\r\n".encode()
            body = encoded(".png", scene(20, 30))
            upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            upgrade += b"Sec-WebSocket-Key: " + b"x" * 22 + b"==\r\n\r\n"
            close = b"Connection: close\r\n"
            length = b"Content-Length: %d\r\n\r\n" % len(body)
            goods = [
                b"GET /api/choices HTTP/1.1\r\n" + head + close + b"\r\n",
                b"POST /api/backgrounds HTTP/1.1\r\n" + head + close + length + body,
                b"GET /stream HTTP/1.1\r\n" + head + upgrade,
            ]
            loop = asyncio.get_running_loop()
            loop.set_default_executor(ThreadPoolExecutor(1))  # the server's; and one to ask with
            asking = ThreadPoolExecutor(1)
            threads = threading.active_count()
            cut = [goods[1][:-at] for at in range(1, 10)]
            for data in [*cut, *(mutated(goods[number % 3]) for number in range(150))]:
                answer = await loop.run_in_executor(asking, ask, port, data)
                if answer:
                    status = int(answer.split(b" ", 2)[1])
                    assert status in (*range(100, 102), *range(200, 202), *range(400, 500)), answer
            assert (await made.get("/api/choices", headers=KEY)).status == 200
            assert threading.active_count() <= threads + 2  # those of the two pools

    asyncio.run(test())


# --- addresses --------------------------------------------------------------------------------


def test_a_token_has_128_bits_and_is_never_the_same() -> None:
    tokens = {new_token() for _ in range(50)}
    assert len(tokens) == 50 and all(len(bytes.fromhex(token)) == 16 for token in tokens)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_no_server_answers_to_every_name(host: str) -> None:
    with pytest.raises(SegjaxError, match="means every address of this machine; the server answ"):
        Address(host, tls=True)


@pytest.mark.parametrize("host", ["0", "0.0", "0x0", "::0"])
def test_nor_under_another_spelling(host: str) -> None:
    with pytest.raises(SegjaxError, match=f"got --host '{host}', which means every address of thi"):
        listen(host, 0)


def test_plain_http_stays_on_this_machine() -> None:
    with pytest.raises(SegjaxError, match=r"run `ssh -L 8000:127\.0\.0\.1:8000 USER@THIS-MACHINE`"):
        Address("192.168.1.5")
    assert Address("192.168.1.5", tls=True).hosts == {"192.168.1.5:8000"}
    assert Address("LAPTOP.local", 443, tls=True).origins == {
        "https://laptop.local:443", "https://laptop.local"
    }  # fmt: skip
    for one in ("127.0.0.2", "localhost", "::1"):
        assert Address(one).url.rstrip("/") in Address(one).origins
    assert Address().hosts == {"127.0.0.1:8000", "localhost:8000", "[::1]:8000"}


def test_a_taken_port_is_said() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SegjaxError, match=rf"cannot listen at 127.0.0.1 port {port} \(.+\); "):
            listen("127.0.0.1", port)


# --- certificates -----------------------------------------------------------------------------


NUMBER, NAME = Address("192.168.1.5", tls=True), Address("laptop.local", tls=True)


def test_a_pair_is_made_once_for_a_host(tmp_path: Path, needs, monkeypatch) -> None:
    needs("cryptography")
    certificate, key = certificates.own_pair(tmp_path / "kept", NUMBER)
    first = certificates.fingerprint(certificate)
    assert len(bytes.fromhex(first.replace(":", ""))) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    certificates.context(certificate, key)
    certificates.own_pair(tmp_path / "kept", NUMBER)
    assert certificates.fingerprint(certificate) == first
    certificates.own_pair(tmp_path / "kept", NAME)
    assert certificates.fingerprint(certificate) != first


def test_a_pair_that_is_over_is_made_again(tmp_path: Path, needs, monkeypatch) -> None:
    needs("cryptography")
    monkeypatch.setattr(certificates, "DAYS", 1)
    certificate, _ = certificates.own_pair(tmp_path, NAME)
    over = certificates.fingerprint(certificate)
    certificates.own_pair(tmp_path, NAME)
    assert certificates.fingerprint(certificate) != over


def test_files_that_are_no_pair_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("nothing")
    with pytest.raises(SegjaxError, match="they are a PEM certificate and its own private key"):
        certificates.context(tmp_path / "a.pem", tmp_path / "a.pem")
    with pytest.raises(SegjaxError, match=r"No such file or directory\); they are a PEM"):
        certificates.context(tmp_path / "b.pem", tmp_path / "b.pem")
