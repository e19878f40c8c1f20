"""The MQTT collector: its options, and the sessions it keeps going."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from agent.collectors.mqtt.endpoint import Endpoint, parse_url
from agent.collectors.mqtt.options import Subscription
from agent.collectors.mqtt.topics import Filter, parse_filter
from agent.options import secret_in_the_clear
from agent.ports import Context, Emit
from agent.record import Emission
from agent.schema import Duration, Secret, Size, option
from agent.timing import Backoff

# A shared subscription's messages wait for a member whose session is kept: a dead one must not keep them long.
SHARED_EXPIRY = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """Messages of one MQTT broker."""

    sampled: ClassVar[bool] = False

    url: str = option(
        "Address of the broker: mqtt://, mqtts:// (TLS), ws:// or wss:// (websockets, protocol 3.1.1 only).",
        example="mqtt://localhost:1883",
    )
    protocol: Literal["5", "3.1.1"] = option(
        "Version of MQTT; 3.1.1 is for brokers without MQTT 5, for websockets and for proxies, and costs more CPU.", "5"
    )
    subscription: list[Subscription] = option("The topics to subscribe to, one table each.", example=[])
    client_id: str = option(
        "Client id, which names the session at the broker: no other client may use it.",
        "",
        default_text="made of the state directory's id and this collector's name, so that it stays the same",
    )
    username: str = option("User name.", "")
    password: Secret = option("Password.", factory=Secret)
    ca_file: Path | None = option(
        "Certificates of the authorities to trust, PEM.", None, default_text="those of the system", must_exist=True
    )
    client_cert: Path | None = option("Certificate to show to the broker, PEM.", None, must_exist=True)
    client_key: Path | None = option("Key of that certificate, PEM.", None, must_exist=True)
    tls_insecure: bool = option("Trust any certificate of the broker. For experiments.", False)
    allow_insecure: bool = option("Whether the password may cross the network without TLS.", False)
    proxy: str = option(
        "Proxy for protocol 3.1.1: socks5://, socks4:// or http:// with host and port; needs PySocks.",
        "",
        example="socks5://proxy.example:1080",
    )
    keepalive: Duration = option("The broker takes us for gone after one and a half of this.", 60.0, low=5, high=65535)
    session_expiry: Duration = option(
        "How long the broker keeps our session, and with it our messages, while we are away; "
        "0s asks for a new session each time. Under protocol 3.1.1 the broker alone decides how long.",
        86_400.0,
    )
    receive_maximum: int = option(
        "How many messages the broker may send before we acknowledge (MQTT 5).", 2000, low=1, high=65535
    )
    max_packet: Size = option(
        "The broker drops messages whose packet, topic and payload together, is larger than this (MQTT 5). It tells "
        "nobody: such a message is in no log, count or dead letter of ours.",
        272 * 1024,
        low=1024,
        high=16 << 20,
    )
    coalesce: Duration = option(
        "Under a steady load, wait this long between reads (MQTT 5), and up to ten times as long the steadier it is: "
        "wake-ups are most of what a message costs. After a quiet moment nothing waits.",
        0.02,
        high=1.0,
    )
    connect_timeout: Duration = option("Give up an attempt to connect after this.", 10.0, low=0.1)
    topic_tag: bool = option("Give each record its topic as the tag topic.", True)
    tags: dict[str, str] = option("Tags added to every record.", factory=dict)

    def problems(self) -> list[tuple[str, str]]:
        """What is wrong across the options: (option, text)."""
        return list(self._problems())

    def _problems(self) -> Iterator[tuple[str, str]]:
        try:
            endpoint = parse_url(self.url)
        except ValueError as error:
            yield "url", f"not a broker's address: {error}"
        else:
            yield from self._connection_problems(endpoint)
        if bool(self.client_cert) != bool(self.client_key):
            missing = "client_key" if self.client_cert else "client_cert"
            yield missing, "client_cert and client_key go together"
        if self.password and not self.username:
            yield "username", "needed beside a password"
        yield from self._proxy_problems()
        if not self.subscription:
            yield "subscription", "expected at least one [[collectors.NAME.subscription]]"
        seen: dict[str, int] = {}
        for position, each in enumerate(self.subscription):
            try:
                parsed = parse_filter(each.topic)
            except ValueError:
                continue  # the subscription itself says so
            place = f"subscription[{position}].topic"
            first = seen.setdefault(parsed.text, position)
            if first != position:
                yield place, f"the same filter as subscription[{first}], {parsed.text}: a session has it once"
            if self.topic_tag and "topic" in parsed.names:
                yield place, "the tag topic is the whole topic: name this level otherwise, or set topic_tag = false"

    def _connection_problems(self, endpoint: Endpoint) -> Iterator[tuple[str, str]]:
        if endpoint.websocket and self.protocol == "5":
            yield "protocol", 'websockets need protocol = "3.1.1"'
        yield from secret_in_the_clear(self.url, self.password, allow_insecure=self.allow_insecure)
        if not endpoint.tls:
            for name in ("ca_file", "client_cert", "client_key", "tls_insecure"):
                if getattr(self, name):
                    yield name, f"has no meaning with {endpoint.scheme}://, which is not encrypted"

    def _proxy_problems(self) -> Iterator[tuple[str, str]]:
        if not self.proxy:
            return
        if self.protocol == "5":
            yield "proxy", 'a proxy needs protocol = "3.1.1"'
        try:
            parts = urlsplit(self.proxy)
            sound = parts.scheme in ("socks5", "socks4", "http") and parts.hostname and parts.port != 0
        except ValueError:  # no URL, or a port that is no number; its words repeat parts of it
            sound = False
        if not sound:
            yield "proxy", "expected socks5://, socks4:// or http:// and a host"
        if importlib.util.find_spec("socks") is None:
            yield "proxy", "needs the package PySocks: pip install PySocks"

    @property
    def filters(self) -> tuple[str, ...]:
        """What a session of ours is subscribed to: to be kept, and given back as `Context.previous`."""
        return tuple(parsed.text for _, parsed in self._parsed() if not parsed.group)

    def _parsed(self) -> list[tuple[Subscription, Filter]]:
        return [(each, parse_filter(each.topic)) for each in self.subscription]

    async def run(self, emit: Emit, context: Context) -> None:
        """Work until cancelled."""
        # Imported here: `run` imports nothing it does not use, and a reader costs up to 5 MB.
        from agent.collectors.mqtt.connection import Connection
        from agent.collectors.mqtt.inbox import Inbox
        from agent.collectors.mqtt.payload import parser
        from agent.collectors.mqtt.standing import Shared, Standing
        from agent.collectors.mqtt.topics import Routes, Source
        from agent.collectors.mqtt.wire import Target, Tls, Wanted

        if self.protocol == "5":
            from agent.collectors.mqtt.reader5 import connect
        else:
            from agent.collectors.mqtt.reader311 import connect

        endpoint = parse_url(self.url)
        bad_time = context.stats.counter(
            "agent_mqtt_bad_time_total",
            "Records that got their arrival time, as theirs could not be read.",
            collector=context.name,
        )
        client_id = self.client_id or f"agent-{context.instance}-{context.name}"
        tls = Tls(
            ca_file=self.ca_file,
            client_cert=self.client_cert,
            client_key=self.client_key,
            insecure=self.tls_insecure,
        )
        shared_standing = Shared(context.part)

        def connection(kind: str, members: list[tuple[Subscription, Filter]], expiry: float) -> Connection:
            group = kind == "shared"
            sources = [Source(parsed, each.retained, parser(each, bad_time.add)) for each, parsed in members]
            # The packet ids of a second session are not those of the first: the spool keeps the first one's only.

            def heard(emission: Emission) -> asyncio.Future[None]:
                made.stir()
                return emit(emission)

            inbox = Inbox(
                context.name,
                heard,
                Routes(f"mqtt.{context.name}", self.tags, sources, topic_tag=self.topic_tag),
                context.stats,
                None if group else context.redeliveries,
                expect=expiry > 0 and not group,
            )
            made = Connection(
                context.name,
                connect=connect,
                target=Target(
                    name=context.name,
                    host=endpoint.host,
                    port=endpoint.port,
                    websocket=endpoint.path if endpoint.websocket else None,
                    tls=tls if endpoint.tls else None,
                    client_id=f"{client_id}-shared" if group else client_id,
                    username=self.username,
                    password=self.password,
                    proxy=self.proxy,
                    keepalive=self.keepalive,
                    session_expiry=expiry,
                    receive_maximum=self.receive_maximum,
                    max_packet=self.max_packet,
                    coalesce=self.coalesce,
                    connect_timeout=self.connect_timeout,
                ),
                inbox=inbox,
                wanted=[Wanted(filter=parsed.text, qos=each.qos, retained=each.retained) for each, parsed in members],
                former=() if group else context.previous,
                standing=Standing(kind, shared_standing),
                rng=Random(),
                backoff=Backoff(),
            )
            return made

        plain = [(each, parsed) for each, parsed in self._parsed() if not parsed.group]
        group = [(each, parsed) for each, parsed in self._parsed() if parsed.group]
        async with asyncio.TaskGroup() as tasks:
            if plain:
                tasks.create_task(connection("own", plain, self.session_expiry).run(), name=f"mqtt {context.name}")
            if group:
                # 3.1.1 knows no expiry: there the session ends with the connection.
                expiry = min(self.session_expiry, SHARED_EXPIRY) if self.protocol == "5" else 0.0
                tasks.create_task(connection("shared", group, expiry).run(), name=f"mqtt {context.name} shared")
