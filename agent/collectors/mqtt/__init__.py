"""MQTT: topics of a broker become records. The table of kinds names `Mqtt`; the rest is private to this folder."""

from agent.collectors.mqtt.collector import Mqtt
from agent.collectors.mqtt.options import Subscription, Time

__all__ = ["Mqtt", "Subscription", "Time"]
