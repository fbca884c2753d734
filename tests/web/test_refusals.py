"""Whatever is wrong, the interface answers with one line of text as ``detail``, and OpenAPI says so."""

import pytest
from page_server import Visitor, page_server, serving_app

from tubelet.web import app
from tubelet.web.label_app import create_label_app
from tubelet.web.limits import Limits

TOKEN = "0123456789abcdefXYZ"
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
MISTAKES = [
    ("POST", "/api/jobs", b"good", {}, 422, "query name: field required"),
    ("POST", f"/api/jobs?name={'n' * 401}", b"good", {}, 422, "query name: string should have at most 400 characters"),
    ("POST", "/api/jobs", b"--x\r\n", FORM, 415, "expected the video's bytes as they are, no form: curl --data-binary"),
    ("POST", "/api/jobs?name=a.mp4", b"--x\r\n", FORM, 415, "/api/jobs?name=street.mp4"),
    ("POST", "/api/jobs?name=a.mp4", b"", {}, 400, "the file is empty"),
    ("GET", "/api/jobs/none", None, {}, 404, "no such video"),
    ("GET", "/api/nothing", None, {}, 404, "not found"),
    ("PUT", "/api/jobs", None, {}, 405, "method not allowed"),
    ("GET", "/api/info", None, {"Host": "evil.example"}, 421, "not called 'evil.example'"),
    ("POST", "/api/jobs?name=a.mp4", b"good", {"Origin": "http://evil.example"}, 403, "asked for by another site"),
]


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with page_server(tmp_path_factory.mktemp("open") / "p", Limits()) as running:
        yield running.port


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "expected"), MISTAKES)
def test_each_mistake_is_one_line(port, method, path, body, headers, status, expected):
    answer = Visitor(port).ask(method, path, body, **headers)
    assert answer.status == status
    assert list(answer.json) == ["detail"]
    assert expected.casefold() in answer.json["detail"].casefold()
    assert "\n" not in answer.json["detail"]


@pytest.mark.parametrize("path", ["/nothing", "/videos/a/b"])
def test_an_unknown_address_shows_a_browser_the_page_and_programs_json(port, path):
    shown = Visitor(port).ask("GET", path, Accept="text/html,*/*;q=0.8")
    assert (shown.status, shown.headers["content-type"].split(";")[0]) == (404, "text/html")
    assert b"Nothing is here" in shown.body
    told = Visitor(port).ask("GET", path, Accept="*/*")
    assert (told.status, told.json) == (404, {"detail": "Not Found"})


def test_the_interface_answers_a_browser_in_json_too(port):
    for path in ("/api/nothing", "/assets/nothing.js"):
        answer = Visitor(port).ask("GET", path, Accept="text/html")
        assert (answer.status, answer.json) == (404, {"detail": "Not Found"})


def test_a_browsers_own_type_of_bytes_is_no_form(port):
    # What curl --data-binary calls any file.
    sent = Visitor(port).ask("POST", "/api/jobs?name=a.mp4", b"bad", Content_Type="application/x-www-form-urlencoded")
    assert sent.status == 202


def test_a_missing_token_is_said_to_programs_too(tmp_path):
    with page_server(tmp_path / "p", Limits(), token=TOKEN) as running:
        answer = Visitor(running.port).ask("GET", "/api/jobs")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json == {"detail": "this server wants its token: Authorization: Bearer TOKEN"}
        assert Visitor(running.port).ask("GET", "/").headers["content-type"].startswith("text/html")


def test_a_mistake_of_the_servers_own_says_nothing_of_it(port, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("/home/secret")

    monkeypatch.setattr(app, "_found", broken)
    answer = Visitor(port).ask("GET", "/api/jobs/x")
    assert (answer.status, answer.json) == (500, {"detail": "the server made a mistake; its log says which"})


def test_the_page_that_labels_answers_alike():
    with serving_app(create_label_app(None, {})) as label_port:  # type: ignore[arg-type]
        answer = Visitor(label_port).ask("PUT", "/api/labels/a/0", b"{}", Content_Type="application/json")
    assert answer.status == 422
    assert answer.json == {"detail": "body actions: field required; body done: field required"}


def test_openapi_says_the_same(port):
    described = Visitor(port).ask("GET", "/openapi.json").json
    assert "HTTPValidationError" not in described["components"]["schemas"]
    told = {
        (method, path): {int(status) for status in operation["responses"] if int(status) >= 400}
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }
    assert told["post", "/api/jobs"] == {400, 408, 413, 415, 422, 429, 503, 507}
    assert told["get", "/api/jobs/{job_id}/video"] == {404, 409, 422}
    assert told["get", "/api/info"] == set()
    for methods in described["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/Refused")
