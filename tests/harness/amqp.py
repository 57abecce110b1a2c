"""A publisher on pika, the client library that connectors use, and the message that connectors publish."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pika
import pika.exceptions

from .platform import Platform


def message(bundle: Any, *, work_id: str | None = None, applicant_id: str | None = None, content: str | None = None, **more: Any) -> bytes:
    """The envelope around a bundle. `content` overrides the encoded bundle, for wrong ones."""
    text = bundle if isinstance(bundle, str) else json.dumps(bundle)
    body = {
        "bundle_type": "QUEUE_BUNDLE",
        "applicant_id": applicant_id,
        "action_sequence": 1,
        "entities_types": [],
        "content": base64.b64encode(text.encode()).decode() if content is None else content,
        "update": False,
        "draft_id": None,
        "no_split": False,
    }
    if work_id is not None:
        body["work_id"] = work_id
    return json.dumps(body | more).encode()


class Publisher:
    """A channel with confirms to the push queue of one registered connector."""

    def __init__(self, platform: Platform, config: dict[str, Any], **overrides: Any) -> None:
        self.config = config
        connection = config["connection"] | overrides
        self.connection = pika.BlockingConnection(
            pika.ConnectionParameters(
                host=connection["host"], port=connection["port"], virtual_host=connection["vhost"], heartbeat=10,
                credentials=pika.PlainCredentials(connection["user"], connection["pass"]), socket_timeout=10,
                blocked_connection_timeout=30, connection_attempts=1,
            )  # fmt: skip
        )
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()

    def publish(self, body: bytes, *, routing_key: str | None = None, exchange: str | None = None) -> None:
        """Returns when the broker has confirmed; raises `pika.exceptions.NackError` when it refuses."""
        self.channel.basic_publish(
            exchange=exchange or self.config["push_exchange"],
            routing_key=routing_key or self.config["push_routing"],
            body=body,
            properties=pika.BasicProperties(delivery_mode=2, content_encoding="utf-8"),
        )

    def close(self) -> None:
        """A connection that the broker has given up meanwhile (silence, a kill) is closed already."""
        with contextlib.suppress(pika.exceptions.AMQPError):
            if self.connection.is_open:
                self.connection.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
