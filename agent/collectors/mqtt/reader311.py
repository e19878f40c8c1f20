"""
MQTT 3.1.1, and what only paho can do (websockets, proxies): aiomqtt with manual acknowledgement.

aiomqtt connects, subscribes and disconnects. Reading is ours, with paho's public calls: aiomqtt's own queue
would take a message for acknowledged when it is read, and throw it away when it is full. All that the socket
holds is read at one wake-up and makes one chunk; acknowledgements of a commit leave together.

Nothing is paused here to coalesce reads: the broker's window is unknown to the client in 3.1.1, commonly 20,
and a pause would leave the broker waiting.

QoS 2 is asked for as QoS 1. paho answers PUBREC before anybody has seen the message, which makes the broker
forget it while it is in memory only. QoS 1 and the recognition of redeliveries give what QoS 2 promises.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import aiomqtt
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.collectors.mqtt import connecting, reasons
from agent.collectors.mqtt.wire import DUP, MAX_PACKET, PUBACK, RETAIN, Broken, Receiver, Refused, Target, Wanted, Wire

AT_ONCE = 500  # messages read before anything else gets its turn,
BYTES_AT_ONCE = 256 * 1024  # and bytes: what is read at once is in memory before the inbox can say that it is too much
CLOSING = 2.0  # seconds for a DISCONNECT to leave
# Reads in a row that brought no message before the socket counts as empty: one may have been an answer.
FRUITLESS = 2
# aiomqtt's own words, a trace among them for each SUBACK that nobody waits for: a broker could fill the log with them.
_UNSAID = logging.getLogger("agent.collectors.mqtt.unsaid")
_UNSAID.disabled = True


@asynccontextmanager
async def connect(target: Target, inbox: Receiver) -> AsyncIterator[Wire]:
    """An open connection that speaks MQTT 3.1.1."""
    loop = asyncio.get_running_loop()
    context, password = await connecting.prepare(target)
    client = aiomqtt.Client(
        target.host,
        target.port,
        identifier=target.client_id,
        username=target.username or None,
        password=password or None,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=target.session_expiry <= 0,
        transport="tcp" if target.websocket is None else "websockets",
        websocket_path=target.websocket,
        timeout=target.connect_timeout,
        keepalive=int(target.keepalive),
        tls_context=context,
        proxy=_proxy(target.proxy) if target.proxy else None,
        logger=_UNSAID,
    )
    wire = _Wire(client, target, inbox, loop)
    entering = asyncio.ensure_future(client.__aenter__())
    entering.add_done_callback(_look_at)
    try:
        # paho tells of a connection that ends before the broker has answered, aiomqtt does not.
        either: list[asyncio.Future[Any]] = [entering, wire.closed]
        await asyncio.wait(either, timeout=target.connect_timeout + 1, return_when=asyncio.FIRST_COMPLETED)
        if wire.closed.done():
            raise connecting.unanswered(wire.closed.result(), target)
        if not entering.done():
            raise Broken("cannot connect: no answer from the broker")
        try:
            await entering
        except aiomqtt.MqttError as error:
            cause = error.__context__  # aiomqtt keeps the words alone, and they do not say what kind of error it was
            if isinstance(cause, OSError):
                raise connecting.failure(cause, target) from error
            raise Broken(f"cannot connect: {error}") from error
        yield wire
    finally:
        entered = entering.done() and not entering.cancelled() and entering.exception() is None
        if entered and not wire.aborted:
            client.timeout = CLOSING
            try:
                await client.__aexit__(None, None, None)
            except aiomqtt.MqttError:
                pass  # no way to say good-bye; the session is kept either way
        else:
            entering.cancel()
        wire.gone("closed")


def _look_at(done: asyncio.Future[Any]) -> None:
    """An exception that nobody awaits any more is no news."""
    if not done.cancelled():
        done.exception()


def _proxy(url: str) -> aiomqtt.ProxySettings:
    import socks  # PySocks; the options say so where it is missing

    parts = urlsplit(url)
    kinds = {"socks5": socks.SOCKS5, "socks4": socks.SOCKS4, "http": socks.HTTP}
    return aiomqtt.ProxySettings(
        proxy_type=kinds[parts.scheme],
        proxy_addr=cast("str", parts.hostname),
        proxy_port=parts.port,
        proxy_username=parts.username,
        proxy_password=parts.password,
    )


class _Wire:
    """One connection: paho's callbacks on one side, the inbox on the other."""

    def __init__(
        self, client: aiomqtt.Client, target: Target, inbox: Receiver, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._client = client
        # The attribute is aiomqtt's own; what we call on it, all but the two lines of the ping, is paho's public face.
        self._paho: Client = client._client  # noqa: SLF001
        self._target = target
        self._inbox = inbox
        self._loop = loop
        self._taken = 0  # messages, ever
        self._size = 0  # bytes of those read at once
        self._corked = False
        self._begun = False  # the broker has let us in
        self._fileno = -1
        self.aborted = False
        self._subscribing: set[asyncio.Future[list[int]]] = set()
        self.held = False
        self.resumed = False
        self.keepalive = target.keepalive
        self.closed: asyncio.Future[Broken] = loop.create_future()
        paho = self._paho
        paho.disable_logger()  # formats a line for every packet
        paho.manual_ack_set(True)
        paho.connect_timeout = target.connect_timeout
        self._aiomqtt_connected = cast("Any", paho.on_connect)
        self._aiomqtt_disconnected = cast("Any", paho.on_disconnect)
        paho.on_connect = self._on_connect
        paho.on_disconnect = self._on_disconnect
        paho.on_message = self._on_message
        # The first and the third are called from the thread that connects.
        paho.on_socket_open = self._on_socket_open
        paho.on_socket_close = self._on_socket_close
        paho.on_socket_register_write = self._on_want_write
        paho.on_socket_unregister_write = self._on_written

    # What paho says.

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            words = reasons.refusal(reasons.name311(code.value), code.value, self._target.name)
            self._end(Refused(words, operator=reasons.needs_operator(code.value)))
        elif self._begun:
            self.abort("the broker sent a second CONNACK")  # taken, it would leave what came before unacknowledged
            return
        else:
            self._begun = True
            self.resumed = flags.session_present
            self._inbox.begin(self, resumed=self.resumed)
        self._aiomqtt_connected(client, userdata, flags, code, properties)

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._end(Broken("the broker closed the connection", silent=True))
        # An error given to aiomqtt here would wait for somebody who reads its queue.
        self._aiomqtt_disconnected(client, userdata, flags, ReasonCode(PacketTypes.DISCONNECT), properties)

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self._taken += 1
        flags = message.qos << 1 | (RETAIN if message.retain else 0) | (DUP if message.dup else 0)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.abort("the broker sent a malformed packet: a topic that is not UTF-8")
            return
        self._size += len(message.payload)
        self._inbox.publish(topic, bytes(message.payload), message.mid, flags)

    def _on_socket_open(self, client: Client, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._opened, sock.fileno())

    def _opened(self, fileno: int) -> None:
        self._fileno = fileno
        if not self.closed.done():
            self._loop.add_reader(fileno, self._readable)

    def _on_socket_close(self, client: Client, userdata: Any, sock: Any) -> None:
        if self._fileno >= 0:
            self._loop.remove_reader(self._fileno)
            self._loop.remove_writer(self._fileno)
            self._fileno = -1

    def _on_want_write(self, client: Client, userdata: Any, sock: Any) -> None:
        if not self._corked:
            self._loop.call_soon_threadsafe(self._watch_writable)

    def _on_written(self, client: Client, userdata: Any, sock: Any) -> None:
        if self._fileno >= 0:
            self._loop.remove_writer(self._fileno)

    def _watch_writable(self) -> None:
        if self._fileno >= 0 and self._paho.want_write():
            self._loop.add_writer(self._fileno, self._paho.loop_write)

    # Reading.

    def _readable(self) -> None:
        """Read all that the socket holds: one chunk."""
        start, fruitless = self._taken, 0
        self._size = 0
        try:
            while fruitless < FRUITLESS and self._fileno >= 0:
                if self._taken - start >= AT_ONCE or self._size >= BYTES_AT_ONCE:
                    break
                before = self._taken
                self._paho.loop_read()
                fruitless = 0 if self._taken > before else fruitless + 1
            # paho takes any length: the one place where a packet's is known before it is in memory.
            if self._paho._in_packet["remaining_length"] > MAX_PACKET:  # noqa: SLF001
                self.abort(f"the broker sent a packet of more than {MAX_PACKET} bytes")
        except Exception as error:  # noqa: BLE001 paho raises what it likes on a malformed packet: the connection ends
            self.abort(f"the broker sent a malformed packet: {error}")
        self._inbox.flush()
        if self._fileno < 0:
            return
        if self._inbox.must_wait():
            self.held = True
            self._loop.remove_reader(self._fileno)
        elif fruitless < FRUITLESS:
            # More may stand in the TLS layer or the websocket, where the selector cannot see it.
            self._loop.call_soon(self._readable)

    def resume(self) -> None:
        if self.held and self._fileno >= 0:
            self.held = False
            self._loop.add_reader(self._fileno, self._readable)
            self._readable()

    # Writing.

    def acknowledge(self, words: list[int]) -> None:
        self._corked = True
        cork = self._cork(1)
        for word in words:
            packet = word & 0xFFFF
            if word & 0xFFFF0000 == PUBACK:
                self._paho.ack(packet, 1)
            else:
                # A subscription of QoS 2 that the session kept: paho said PUBREC, and gives the message at its release.
                self._paho.ack(packet, 2)
                self._inbox.forget(packet)
        self._corked = False
        self._write()
        if cork:
            self._cork(0)

    def _write(self) -> None:
        self._paho.loop_write()
        if self._fileno >= 0 and self._paho.want_write():
            self._loop.add_writer(self._fileno, self._paho.loop_write)

    def _cork(self, on: int) -> bool:
        """Let several small writes leave as one packet, where the system can do that."""
        sock = self._paho.socket()
        if not isinstance(sock, socket.socket) or not hasattr(socket, "TCP_CORK"):
            return False
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)
        return True

    @property
    def answered(self) -> bool:
        return self._paho._ping_t == 0  # noqa: SLF001 paho's public face knows pings by its own timer alone

    def ping(self) -> None:
        if self._fileno >= 0:
            self._paho._send_pingreq()  # noqa: SLF001

    def subscribe(self, wanted: Sequence[Wanted]) -> asyncio.Future[list[int]]:
        future = asyncio.ensure_future(self._subscribe(wanted))
        self._subscribing.add(future)
        future.add_done_callback(self._asked)
        return future

    def _asked(self, future: asyncio.Future[list[int]]) -> None:
        self._subscribing.discard(future)
        _look_at(future)

    async def _subscribe(self, wanted: Sequence[Wanted]) -> list[int]:
        codes = []
        for each in wanted:
            try:
                granted = await self._client.subscribe(each.filter, min(each.qos, 1), timeout=math.inf)
            except aiomqtt.MqttError as error:
                raise Broken(f"cannot subscribe: {error}") from error
            if len(granted) != 1:
                raise Broken(f"the broker answered SUBSCRIBE with {len(granted)} codes, not 1")
            codes += [code.value if isinstance(code, ReasonCode) else int(code) for code in granted]
        return codes

    def unsubscribe(self, filters: Sequence[str]) -> None:
        for each in filters:
            self._paho.unsubscribe(each)

    # The end.

    def abort(self, reason: str) -> None:
        self.aborted = True
        sock = self._paho.socket()
        if sock is not None:
            self._on_socket_close(self._paho, None, sock)
            sock.close()
        self.gone(reason)

    def gone(self, reason: str) -> None:
        """There is no connection any more."""
        self._end(Broken(reason))

    def _end(self, end: Broken) -> None:
        for future in tuple(self._subscribing):
            future.cancel()
        if not self.closed.done():
            self._inbox.end()
            self.closed.set_result(end)
