"""The options that every HTTP sink takes, and what can be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from agent.options import secret_in_the_clear
from agent.schema import Duration, Secret, option

ENVIRONMENT = "environment"  # `proxy` as the environment's variables say


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """The options that every HTTP sink takes."""

    timeout: Duration = option("Longest time for one request, from connecting to the end of the answer.", 30.0, low=1.0)
    connect_timeout: Duration = option("Longest time for name look-up, connecting and TLS together.", 5.0, low=0.1)
    proxy: str | None = option(
        "Proxy to send through, by CONNECT where the far side speaks TLS; `environment`: as HTTPS_PROXY, HTTP_PROXY "
        "and NO_PROXY say, which are not looked at otherwise.",
        None,
        default_text="none",
        example="https://proxy.example.net:3128",
    )
    proxy_user: str | None = option("User name for the proxy.", None, default_text="none", example="agent")
    proxy_password: Secret | None = option(
        "Password for the proxy.", None, default_text="none", example="credential:proxy"
    )
    ca_file: Path | None = option(
        "PEM file of the authorities to trust.",
        None,
        default_text="the system's",
        example="/etc/ssl/private-ca.pem",
        must_exist=True,
    )
    client_cert: Path | None = option(
        "PEM file of the certificate to show (mTLS).",
        None,
        default_text="none",
        example="/etc/telemetry-agent/cert.pem",
        must_exist=True,
    )
    client_key: Path | None = option(
        "PEM file of its key.",
        None,
        default_text="within client_cert",
        example="/etc/telemetry-agent/key.pem",
        must_exist=True,
    )
    source_address: str | None = option(
        "Address of this machine to send from.", None, default_text="the system chooses", example="192.0.2.17"
    )
    allow_insecure: bool = option("Whether secrets may cross the network over plain http.", False)


def option_problems(options: HttpOptions) -> list[tuple[str, str]]:
    """What is wrong with the options among each other, as (option, text)."""
    problems = []
    if options.client_key and not options.client_cert:
        problems.append(("client_key", "needs client_cert"))
    if options.connect_timeout > options.timeout:
        problems.append(("connect_timeout", "is longer than timeout, which includes it"))
    if options.source_address:
        try:
            ip_address(options.source_address)
        except ValueError:
            problems.append(("source_address", "expected an address such as 192.0.2.17 or 2001:db8::17"))
    if options.proxy == ENVIRONMENT:
        if options.proxy_user:
            problems.append(("proxy_user", "has no effect beside the environment's proxy, which has its own"))
    elif options.proxy:
        problems += url_problems("proxy", options.proxy, options.proxy_password, options)
    elif options.proxy_user:
        problems.append(("proxy_user", "needs proxy"))
    if options.proxy_password and not options.proxy_user:
        problems.append(("proxy_password", "needs proxy_user"))
    return problems


def url_problems(name: str, url: str, secret: Secret | None, options: HttpOptions) -> list[tuple[str, str]]:
    """What is wrong with a URL to which requests go with a secret, as (option, text)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" not in host:
            host.encode("idna")  # a label that is empty or too long
    except ValueError:  # whose words repeat parts of it, and a password with a slash is taken for a port
        return [(name, 'not a URL such as "https://host:port"')]
    if parts.scheme not in ("http", "https") or not host or " " in host or port == 0:
        return [(name, 'expected a URL such as "https://host:port"')]
    if "@" in url:  # anywhere: of a password with a slash, what follows looks like a path
        return [(name, "holds a user name or a password: they have options of their own")]
    if parts.query or parts.fragment:
        return [(name, "must end before any ? or #")]
    return secret_in_the_clear(url, secret, allow_insecure=options.allow_insecure, option=name)
