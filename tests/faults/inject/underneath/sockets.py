"""Sockets: what leaves by `send` and what comes in by `recv`, each under one name whatever variant is called."""

from __future__ import annotations

import socket
from typing import Any

from .rules import Control, under

_Socket = socket.socket
_send, _sendall, _sendmsg = _Socket.send, _Socket.sendall, _Socket.sendmsg
_recv, _recv_into = _Socket.recv, _Socket.recv_into


def install(control: Control) -> None:
    """Put them in place. Below TLS the bytes are those on the wire."""

    def sending(each: socket.socket, data: Any, original: Any, arguments: tuple[Any, ...]) -> Any:
        place, raw = _far_end(each), bytes(memoryview(data).cast("B"))
        rule = control.strike("send", place, raw)
        return under(rule, place, lambda: original(each, *arguments), lambda: _send(each, control.part(raw)))

    def send(self: socket.socket, data: Any, *flags: Any) -> int:
        if not control.concerns("send"):
            return _send(self, data, *flags)
        return int(sending(self, data, _send, (data, *flags)))

    def sendall(self: socket.socket, data: Any, *flags: Any) -> None:
        if not control.concerns("send"):
            _sendall(self, data, *flags)
        else:
            sending(self, data, _sendall, (data, *flags))

    def sendmsg(self: socket.socket, buffers: Any, *more: Any) -> int:
        if not control.concerns("send"):
            return _sendmsg(self, buffers, *more)
        buffers = list(buffers)
        return int(sending(self, b"".join(buffers), _sendmsg, (buffers, *more)))

    def receiving(each: socket.socket, original: Any, arguments: tuple[Any, ...]) -> Any:
        if not control.concerns("recv"):
            return original(each, *arguments)
        place = _far_end(each)
        return under(control.strike("recv", place), place, lambda: original(each, *arguments))

    def recv(self: socket.socket, *arguments: Any) -> bytes:
        return bytes(receiving(self, _recv, arguments))

    def recv_into(self: socket.socket, *arguments: Any) -> int:
        return int(receiving(self, _recv_into, arguments))

    for ours in (send, sendall, sendmsg, recv, recv_into):
        setattr(_Socket, ours.__name__, ours)


def _far_end(each: socket.socket) -> str:
    try:
        name = each.getpeername()
    except OSError:
        return ""
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
