"""Who may speak with the server, and what a browser may do with its answers."""

import hmac
import ipaddress
import secrets
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from segjax.errors import SegjaxError

TOKEN_HEADER = "X-Segjax-Token"


def new_token() -> str:
    """128 random bits, which the address shows once, after its `#`: browsers keep that part."""
    return secrets.token_hex(16)


def is_token(given: object, token: str) -> bool:
    """Whether the two are equal, in a time that does not tell how far."""
    return isinstance(given, str) and hmac.compare_digest(
        given.encode(errors="replace"), token.encode()
    )


@dataclass(frozen=True)
class Address:
    """Where the server listens: `host` by name or number, `port`, and whether by TLS.

    Raises:
      SegjaxError: the host means every address of the machine, or is reached from other machines
        and there is no TLS.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tls: bool = False

    def __post_init__(self) -> None:
        if self.host in ("", "0.0.0.0", "::", "*"):
            raise SegjaxError(
                f"got --host {self.host!r}, which means every address of this machine; the server "
                "answers to one name, so that no other page can borrow it; give the address or "
                "the name by which the other device reaches this machine"
            )
        if not (self.loopback or self.tls):
            raise SegjaxError(
                f"got --host {self.host} without TLS; camera pictures would cross the network "
                "readable by all, and browsers give no camera to such a page; "
                f"give --cert and --key, or leave out --host and run `{self.tunnel}` on the "
                "other device"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> frozenset[str]:
        """What a request's Host may be: nothing that another page could have made it."""
        names = {self._in_url.lower()}
        if self.loopback:
            names |= {"127.0.0.1", "localhost", "[::1]"}
        usual = 443 if self.tls else 80  # which browsers leave out
        bare = names if self.port == usual else set()
        return frozenset({f"{name}:{self.port}" for name in names} | bare)

    @property
    def origins(self) -> frozenset[str]:
        """What a request's Origin may be."""
        return frozenset(f"{self.scheme}://{host}" for host in self.hosts)

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self._in_url}:{self.port}/"

    @property
    def tunnel(self) -> str:
        """The line that brings a loopback server to another device, encrypted."""
        return f"ssh -L {self.port}:127.0.0.1:{self.port} USER@THIS-MACHINE"

    @property
    def _in_url(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def gate(address: Address, token: str) -> Middleware:
    """The check of every request: its Host always, its Origin where it changes something or opens
    a stream, the token wherever it asks for more than the page itself. A stream's token is its
    first message."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in address.hosts:
            raise web.HTTPMisdirectedRequest(
                text="this server does not answer to that name; open the address that it printed"
            )
        upgrade = "Upgrade" in request.headers
        if upgrade or request.method not in ("GET", "HEAD"):
            origins = request.headers.getall("Origin", [])
            if len(origins) != 1 or origins[0].lower() not in address.origins:
                raise web.HTTPForbidden(text="only this server's own page may do that")
        if request.path.startswith("/api/") and not is_token(
            request.headers.get(TOKEN_HEADER), token
        ):
            raise web.HTTPUnauthorized(
                text="the key is missing or old; open the address again in full"
            )
        return await handler(request)

    return check


def headers(address: Address) -> dict[str, str]:
    """What every answer says: run and load nothing but this server's own files, be in nobody's
    frame, ask for no device but the camera, tell nobody where a link came from, keep nothing."""
    # 'self' alone leaves out WebSockets in older browsers; a policy cannot name IPv6 addresses.
    origins = sorted(origin for origin in address.origins if "[" not in origin)
    streams = " ".join(origin.replace("http", "ws", 1) for origin in origins)
    policy = (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
        f"img-src 'self' blob:; connect-src 'self' {streams}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    refused = (
        "microphone", "geolocation", "display-capture", "usb", "serial", "hid", "midi",
        "payment", "accelerometer", "gyroscope", "magnetometer", "clipboard-read",
    )  # fmt: skip
    return {
        "Content-Security-Policy": policy,
        "Permissions-Policy": ", ".join(["camera=(self)", *(f"{name}=()" for name in refused)]),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Server": "segjax",
    }
