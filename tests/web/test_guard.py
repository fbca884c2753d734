"""Who is let in: own host names, a token where one is wanted, no other site; what each answer tells the browser."""

import pytest
from page_server import Visitor, page_server

from tubelet.types import InputError
from tubelet.web.limits import Limits
from tubelet.web.serve import Address, is_loopback

TOKEN = "0123456789abcdefXYZ"


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    with page_server(tmp_path_factory.mktemp("open"), Limits()) as found:
        yield found


@pytest.fixture(scope="module")
def closed_server(tmp_path_factory):
    with page_server(tmp_path_factory.mktemp("closed"), Limits(), token=TOKEN) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/assets/page.js", "/api/info", "/no-such-page", "/api/jobs/x/video"])
def test_every_answer_binds_the_browser(open_server, path):
    headers = Visitor(open_server.port).ask("GET", path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_another_name_for_this_machine_is_refused(open_server):
    visitor = Visitor(open_server.port)
    assert visitor.ask("GET", "/api/info", Host="evil.example").status == 421
    assert visitor.ask("GET", "/api/info", Host="localhost:1").status == 200


def test_another_site_changes_nothing(open_server):
    visitor = Visitor(open_server.port)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        assert visitor.ask("POST", "/api/jobs?name=a.mp4", b"x", **headers).status == 403
    assert visitor.ask("GET", "/api/jobs").json == []
    own = {"Origin": f"http://127.0.0.1:{open_server.port}", "Sec-Fetch-Site": "same-origin"}
    assert visitor.ask("POST", "/api/jobs?name=a.mp4", b"bad", **own).status == 202


def test_without_the_token_there_is_nothing(closed_server):
    visitor = Visitor(closed_server.port)
    for path in ("/", "/assets/page.js", "/api/info", "/api/jobs", "/openapi.json", "/?token=wrong"):
        answer = visitor.ask("GET", path)
        assert answer.status == 401, path
        assert TOKEN not in answer.body.decode()
    assert visitor.ask("GET", "/api/info", Authorization=f"Bearer {TOKEN}x").status == 401
    assert visitor.ask("GET", "/api/info", Cookie="tubelet_token=; a=b").status == 401


def test_the_token_opens_once_by_address_then_by_cookie(closed_server):
    visitor = Visitor(closed_server.port)
    entered = visitor.ask("GET", f"/?token={TOKEN}")
    assert (entered.status, entered.headers["location"]) == (303, "/")
    assert visitor.ask("GET", "/api/info", Cookie=f"tubelet_token={TOKEN}").status == 200
    assert visitor.ask("GET", "/api/info", Authorization=f"Bearer {TOKEN}").status == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("a.example", False)],
)
def test_whoever_can_be_reached_by_others_has_a_token(host, loopback):
    assert is_loopback(host) is loopback
    first, second = (Address.choose(host, 0, None).token for _ in range(2))
    assert (first is None) is loopback
    assert loopback or (len(first) >= 32 and first != second)


def test_a_short_token_is_refused():
    with pytest.raises(InputError, match="5 characters, expected at least 16"):
        Address.choose("0.0.0.0", 0, "short")
    assert Address.choose("127.0.0.1", 0, TOKEN).url(80) == f"http://127.0.0.1:80/?token={TOKEN}"
