"""Who may ask: the right host name, a token where one is wanted, no other site; and headers that bind the browser.

Plain ASGI, around everything the server answers, its files and errors included.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_COOKIE = "tubelet_token"
VISITOR_COOKIE = "tubelet_visitor"
VISITOR_SECONDS = 30 * 24 * 3600
# The page's own files and nothing else: whatever a file name or a video might smuggle in cannot run or be fetched.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
ASK_FOR_TOKEN = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Tubelet</title><main>
<h1>Tubelet</h1><p>This server wants its token; who started it has seen it in the terminal.</p>
<form action="/" method="get"><label>Token <input name="token" type="password" autocomplete="current-password" required>
</label> <button>Enter</button></form></main></html>"""


class Guard:
    """Lets through what may be asked.

    Args:
        app: What answers then.
        hosts: Names by which the server may be called: another name that leads here belongs to a site that
            wants this browser to speak for it (DNS rebinding). ``*`` = any, where a token is wanted.
        token: Wanted with every request, as a cookie, ``Authorization: Bearer`` or, once, ``/?token=``; None = none.
    """

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], token: str | None) -> None:
        self._app, self._hosts, self._token = app, frozenset(hosts), token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookies = read_cookies(headers.get("cookie", ""))
        visitor = cookies.get(VISITOR_COOKIE, "")
        is_new = len(visitor) < 32
        if is_new:
            visitor = secrets.token_urlsafe(32)
        scope.setdefault("state", {})["visitor"] = digest(visitor)

        async def send_bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("cache-control", "no-store")
                if is_new:
                    answer.append("set-cookie", _cookie(VISITOR_COOKIE, visitor, scope))
            await send(message)

        refused = self._refused(scope, headers, cookies)
        await (self._app if refused is None else refused)(scope, receive, send_bound)

    def _refused(self, scope: Scope, headers: Headers, cookies: dict[str, str]) -> Response | None:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if "*" not in self._hosts and host not in self._hosts:
            return _refusal(421, f"this server is not called {host!r}")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _is_own_page(headers):
            return _refusal(403, "asked for by another site")
        if self._token is None:
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and is_same(query.get("token", [""])[0], self._token):
            entered = RedirectResponse("/", status_code=303)  # so that the token stays in no address
            entered.headers.append("set-cookie", _cookie(TOKEN_COOKIE, self._token, scope))
            return entered
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if is_same(cookies.get(TOKEN_COOKIE, ""), self._token) or is_same(bearer, self._token):
            return None
        asking = {"www-authenticate": "Bearer"}
        if scope["path"].startswith("/api/"):
            return _refusal(401, "this server wants its token: Authorization: Bearer TOKEN", asking)
        return Response(ASK_FOR_TOKEN, status_code=401, media_type="text/html", headers=asking)


def _refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": reason}, status_code=status, headers=headers)


def read_cookies(header: str) -> dict[str, str]:
    """Return the cookies of a header; none where it cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def is_same(given: str, expected: str) -> bool:
    """Compare in a time that does not depend on where the first difference is."""
    return hmac.compare_digest(given.encode(), expected.encode())


def digest(secret: str) -> str:
    """Return what is kept of a visitor's cookie: who reads the queue's file cannot be that visitor."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_own_page(headers: Headers) -> bool:
    """Return whether a request that changes something comes from this server's page or from no page at all."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _cookie(name: str, value: str, scope: Scope) -> str:
    # Lax: a link that somebody was sent opens; what changes something is checked above.
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{name}={value}; Path=/; Max-Age={VISITOR_SECONDS}; HttpOnly; SameSite=Lax{secure}"
