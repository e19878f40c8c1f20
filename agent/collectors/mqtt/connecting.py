"""What opening a connection takes out of the operator's files, and why one cannot be opened: in words for a person."""

from __future__ import annotations

import os
import re
import socket
import ssl
from functools import partial
from pathlib import Path

from agent.aside import aside
from agent.collectors.mqtt.wire import Broken, Refused, Target, Tls

# OpenSSL's X509_V_ERR numbers.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _WRONG_NAMES = 9, 10, 18, (62, 64)
_AUTHORITY_UNKNOWN = (19, 20, 21)


async def prepare(target: Target) -> tuple[ssl.SSLContext | None, str]:
    """The TLS context and the password, out of the files as they are now. Raises Broken, which names the option."""
    # One at a time: on a network mount that has gone, every attempt would leave a thread behind.
    kind = ("mqtt", target.name, target.client_id)
    return await aside(partial(_prepare, target), kind=kind, within=target.connect_timeout)


def _prepare(target: Target) -> tuple[ssl.SSLContext | None, str]:
    context = None if target.tls is None else _context(target.tls, f"collectors.{target.name}")
    try:
        return context, target.password.reveal(fresh=True)
    except OSError as error:
        raise _unusable(f"collectors.{target.name}.password_file", error.filename, _unread(error)) from error


def _context(tls: Tls, table: str) -> ssl.SSLContext:
    for name, path, mark, content in (
        ("ca_file", tls.ca_file, b"CERTIFICATE-----", "certificate"),
        ("client_cert", tls.client_cert, b"CERTIFICATE-----", "certificate"),
        ("client_key", tls.client_key, b"PRIVATE KEY-----", "key"),
    ):
        # OpenSSL says neither which file it could not read nor, in most versions, what it lacked.
        try:
            if path is not None and mark not in path.read_bytes():
                raise _unusable(f"{table}.{name}", path, f"holds no PEM {content}")
        except OSError as error:
            raise _unusable(f"{table}.{name}", path, _unread(error)) from error
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except ssl.SSLError as error:
        raise _unusable(f"{table}.ca_file", tls.ca_file, "holds no PEM certificate that can be read") from error
    if tls.client_cert is not None:
        try:
            # Without a password, OpenSSL would ask for that of an encrypted key at the terminal, and wait.
            context.load_cert_chain(tls.client_cert, tls.client_key, password="")
        except ssl.SSLError as error:
            other = error.reason == "KEY_VALUES_MISMATCH"
            why = "is not the key of client_cert" if other else "cannot be used: damaged, or encrypted?"
            raise _unusable(f"{table}.client_key", tls.client_key, why) from error
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _unread(error: OSError) -> str:
    why = "no such file" if isinstance(error, FileNotFoundError) else (error.strerror or str(error)).lower()
    return f"cannot be read: {why}"


def _unusable(option: str, path: Path | str | None, why: str) -> Broken:
    return Broken(f"{option}: {path} {why}", operator=True)


def failure(error: OSError, target: Target) -> Broken:
    """Why a connection could not be made, with that error."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return Broken(f"cannot connect: no answer within {target.connect_timeout:g} s")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Broken(f"the broker's certificate is not trusted: {_distrust(error, target)}", operator=True)
    reason = f"cannot connect: {_words(error)}"
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):  # so the far side does speak TLS
        reason += "" if target.tls is None else _wants_certificate(target.tls)
    elif target.tls is not None and isinstance(error, (ssl.SSLError, ConnectionResetError, BrokenPipeError)):
        reason += "; is this port without TLS?"
    elif target.tls is None and isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError):
        reason += _wants_tls(target)
    return Broken(reason)


def lost(error: Exception) -> Broken:
    """Why an open connection ended with that error."""
    # A broker that closes with something of ours unread resets the connection; a network that fails has other words.
    silent = isinstance(error, ConnectionError)
    return Broken(f"connection lost: {_words(error) if isinstance(error, OSError) else error}", silent=silent)


def unanswered(end: Broken, target: Target) -> Broken:
    """The same end, as it looks where it came instead of the broker's answer to CONNECT."""
    if isinstance(end, Refused):
        return end
    return Broken(end.reason + (_wants_tls(target) if target.tls is None else _wants_certificate(target.tls)))


def is_tls(start: bytes) -> bool:
    """Whether these bytes begin a record of TLS: an alert or a handshake. No answer to CONNECT begins so."""
    return start[:1] in (b"\x15", b"\x16") and start[1:2] == b"\x03"


def _wants_tls(target: Target) -> str:
    return f"; does this port want {'mqtts' if target.websocket is None else 'wss'}://?"


def _wants_certificate(tls: Tls) -> str:
    # TLS 1.3 ends the handshake before the broker has looked at our certificate, and its word is often lost.
    return "" if tls.client_cert else "; does the broker ask for client_cert and client_key?"


def _distrust(error: ssl.SSLCertVerificationError, target: Target) -> str:
    given = target.tls is not None and target.tls.ca_file is not None
    match error.verify_code:
        case code if code == _SELF_SIGNED:
            return "self-signed, and not in ca_file" if given else "self-signed; give ca_file"
        case code if code in _AUTHORITY_UNKNOWN:
            return "its authority is not in ca_file" if given else "its authority is not known; give ca_file"
        case code if code == _EXPIRED:
            return "it has expired; renew it, or is this machine's clock wrong?"
        case code if code == _NOT_YET_VALID:
            return "it is not valid yet; is this machine's clock wrong?"
        case code if code in _WRONG_NAMES:
            return f"it is not for {target.host}; give a name that stands in it as the host of url"
        case _:
            return _lowered(error.verify_message)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLEOFError) or (isinstance(error, ConnectionError) and not error.args):
        return "the broker closed the connection"  # asyncio says it by an error without a word
    if isinstance(error, ssl.SSLError):
        return f"TLS: {_lowered(error.reason)}"
    if isinstance(error, socket.gaierror):
        return _lowered(error.strerror)
    # asyncio puts "Connect call failed (...)" where the system's words were, and joins those of several addresses.
    text = str(error)
    if error.errno is None and not text.startswith("Multiple exceptions"):
        return text or type(error).__name__
    numbers = dict.fromkeys(map(int, re.findall(r"\[Errno (\d+)\]", text)))
    return ", ".join(os.strerror(number).lower() for number in numbers) or text


def _lowered(text: str | None) -> str:
    return (text or "failed").lower().replace("_", " ").rstrip(".")
