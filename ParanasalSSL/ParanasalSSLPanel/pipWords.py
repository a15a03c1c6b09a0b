"""Why an installation of Python packages has failed: what pip has printed, in words for the user."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from slicer.i18n import tr as _

CERTIFICATE = r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError"
PROXY = r"ProxyError|Tunnel connection failed|407 Proxy"
NETWORK = (
    r"NewConnectionError|NameResolutionError|getaddrinfo failed|name resolution|"
    r"Failed to establish a new connection|ConnectTimeout|Read timed out|Network is unreachable"
)
DISK = r"No space left|Errno 28|WinError 112|not enough space"
PERMISSION = (
    r"Permission denied|Access is denied|Errno 13|Errno 30|Read-only file system|WinError 5\b"
)
CONFLICT = r"ResolutionImpossible|conflicting dependencies"
NO_BUILD = r"(?:No matching distribution found for|satisfies the requirement) ([\w.-]+)"


class _Overheard:
    """Passes on what is printed, and keeps it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.parts: list[str] = []

    def write(self, text: str) -> None:
        self.parts.append(text)
        self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def overheard() -> Iterator[list[str]]:
    """What is printed inside, in parts: Slicer prints what pip says, and tells it in no other way."""
    stream = _Overheard(sys.stdout)
    with redirect_stdout(stream):  # type: ignore[type-var]
        yield stream.parts


def failureWords(printed: str) -> str:
    """What has really failed, and what to do on this system."""
    folder = _('A computer without network: use "Packages", "Install from a folder" in the panel.')
    for pattern, words in (
        (CERTIFICATE, _("The network's certificate is not trusted (a firewall of the site?).")),
        (PROXY, _("The network's proxy has refused the connection to pypi.org.")),
        (NETWORK, _("pypi.org, where the packages come from, cannot be reached.")),
    ):
        if re.search(pattern, printed):
            return f"{words} {folder}"
    return _localWords(printed)


def _localWords(printed: str) -> str:
    """Of what is not the network's fault."""
    lacking = re.search(NO_BUILD, printed)
    if re.search(DISK, printed):
        return _("The disk is full. Make room (about 200 MB) and try again.")
    if re.search(PERMISSION, printed):
        return _permissionWords()
    if re.search(CONFLICT, printed):
        return _(
            "The packages do not go together with those that other extensions have installed; the log "
            "(View > Error Log) says which."
        )
    if lacking is not None:
        return _buildWords(lacking[1])
    return _lastWords(printed)


def _permissionWords() -> str:
    words = {
        "Windows": _(
            "Slicer's folder cannot be written. Install Slicer for your user alone (its default), "
            "or start it once as administrator."
        ),
        "Darwin": _(
            "Slicer's folder cannot be written. Move Slicer into the folder Applications and start it "
            "from there."
        ),
    }
    other = _(
        "Slicer's folder cannot be written. Unpack Slicer into a folder of your own, or let whoever "
        "has installed it start it once."
    )
    return words.get(platform.system(), other)


def _buildWords(package: str) -> str:
    words = _(
        "There is no build of {package} for {system} ({machine}) and Slicer's Python {version}. "
    ).format(
        package=package,
        system={"Darwin": "macOS"}.get(platform.system(), platform.system()),
        machine=platform.machine(),
        version=".".join(map(str, sys.version_info[:2])),
    )
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        return words + _("On a Mac with an M processor, take the Slicer that is made for it.")
    return words + _("Take the current stable Slicer for this system.")


def _lastWords(printed: str) -> str:
    errors = [line[6:].strip() for line in printed.splitlines() if line.startswith("ERROR:")]
    if errors:
        return _("pip says: {words}").format(words=errors[-1])
    return _("The log (View > Error Log) says why.")
