"""Start the server: own socket, patience for slow clients bounded, and an end that loses nothing."""

import asyncio
import fcntl
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tubelet.types import InputError
from tubelet.web.app import Shop, create_app, list_examples
from tubelet.web.folders import Folders
from tubelet.web.guard import Guard
from tubelet.web.jobs import JobStore
from tubelet.web.limits import Limits
from tubelet.web.order import Choices
from tubelet.web.runner import Runner

OWN_NAMES = ("127.0.0.1", "localhost", "::1")
HEADER_SECONDS = 10.0
"""A connection that has not asked for anything whole for so long is closed."""
MAX_CONNECTIONS = 1000
SHORTEST_TOKEN = 16
GRACE_SECONDS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where to listen, and who may come."""

    host: str
    port: int
    """0 = any that is free."""
    token: str | None

    @staticmethod
    def choose(host: str, port: int, token: str | None) -> "Address":
        """Return the address; one that others can reach always has a token.

        Raises:
            InputError: The token is short, or the port none.
        """
        if not 0 <= port <= 65535:
            raise InputError(f"--port is {port}, expected 0 (any) to 65535")
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise InputError(f"the token has {len(token)} characters, expected at least {SHORTEST_TOKEN}")
        if token is None and not is_loopback(host):
            token = secrets.token_urlsafe(24)
        return Address(host=host, port=port, token=token)

    @property
    def names(self) -> tuple[str, ...]:
        """Names by which browsers may call the server; with a token any, for who lacks it is stopped anyway."""
        return (*OWN_NAMES, self.host) if self.token is None else ("*",)

    def url(self, port: int) -> str:
        """Return what to open."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.token else "")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve_page(
    *,
    address: Address,
    folder: Path,
    choices: Choices,
    model: str,
    limits: Limits,
    examples: Path | None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page until it is stopped.

    Args:
        address: Where to listen.
        folder: Private folder of the queue, uploads and results.
        choices: Model and settings.
        model: What the page calls the model.
        limits: Of what is sent.
        examples: Folder of videos to try; None = those that ship.
        say: Told the address.

    Raises:
        InputError: The folder or the address cannot be used.
    """
    with listening(address) as listener:  # first: a port that is taken leaves no folder behind
        folders = Folders(folder)
        with only_server_of(folders), closing(JobStore(folders.database)) as store:
            runner = Runner(store, folders, choices=choices, limits=limits)
            shop = Shop(
                store=store,
                folders=folders,
                limits=limits,
                model=model,
                examples=list_examples(examples),
                wake=runner.wake,
            )
            runner.start()
            try:
                say(f"open {address.url(listener.getsockname()[1])}   (Ctrl-C stops)")
                with suppress(KeyboardInterrupt):  # how a server is stopped
                    make_server(create_app(shop), address).run(sockets=[listener])
            finally:
                runner.close()


@contextmanager
def only_server_of(folders: Folders) -> Iterator[None]:
    """Hold a folder for this process: two servers would take each other's videos for left behind."""
    with (folders.root / "server.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folders.root}: another server uses this folder; give another --out") from None
        yield


def listening(address: Address) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        InputError: The address is not this machine's, or taken.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=512)
    except OSError as error:
        raise InputError(f"cannot listen on {address.host}, port {address.port}: {error.strerror or error}") from None


def make_server(app: ASGIApp, address: Address) -> uvicorn.Server:
    """Return what answers requests once it is run with a socket, until SIGINT, SIGTERM or its ``should_exit``."""
    config = uvicorn.Config(
        Guard(app, hosts=address.names, token=address.token),
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )
    return uvicorn.Server(config)


class PatientProtocol(H11Protocol):
    """HTTP that closes connections which do not finish asking: many such would keep everybody else out."""

    def connection_made(self, transport: Any) -> None:
        """Begin to watch a new connection."""
        super().connection_made(transport)
        self._watch = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        is_asked = self.cycle is not None and not self.cycle.response_complete
        if not is_asked and not self.transport.is_closing():
            self.transport.close()
            return
        self._watch = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._look)
