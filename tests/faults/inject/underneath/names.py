"""The resolver: names that the control file knows lead where it says, or are not found; all others as ever."""

from __future__ import annotations

import socket
from typing import Any

from .rules import Control

_getaddrinfo = socket.getaddrinfo


def install(control: Control) -> None:
    """Put it in place."""

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in control.names:
            return _getaddrinfo(host, port, *arguments, **options)
        found = [_getaddrinfo(address, port, *arguments, **options) for address in control.names[name]]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [each for one in found for each in one]

    socket.getaddrinfo = getaddrinfo
