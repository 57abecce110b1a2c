#!/usr/bin/env python3
"""Unmodified pika against a broker: what its blocking connection does differently from the client of the Rust contract suite.

usage: pika_broker.py AMQP_URL [--rabbitmq]

Run it with a Python that has pika (1.4.4 is what pycti uses). Prints one line for each check and ends with status 1 at the first
that fails. With --rabbitmq the deliberate differences of the built-in broker are expected the other way round.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import pika
from pika.exceptions import (
    ChannelClosedByBroker,
    NackError,
    ProbableAuthenticationError,
    UnroutableError,
)

URL = sys.argv[1] if len(sys.argv) > 1 else sys.exit(__doc__)
RABBITMQ = "--rabbitmq" in sys.argv
PERSISTENT = pika.BasicProperties(delivery_mode=2, content_encoding="utf-8")


def parameters(**changes):
    """Connection parameters as pycti sets them: the client's heartbeat of 10 s wins over the server's proposal."""
    values = pika.URLParameters(URL)
    values.heartbeat = 10
    for name, value in changes.items():
        setattr(values, name, value)
    return values


def queue_name(stem):
    return f"{stem}-{uuid.uuid4()}"


def durable_queue(channel, stem):
    name = queue_name(stem)
    channel.queue_declare(name, durable=True)
    return name


def count(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def wait_for(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def negotiation():
    connection = pika.BlockingConnection(parameters())
    tuned = connection._impl.params  # what both sides agreed on is only visible here
    assert tuned.heartbeat == 10, tuned.heartbeat
    capabilities = connection._impl.server_capabilities
    for name in ("publisher_confirms", "basic.nack", "consumer_cancel_notify", "authentication_failure_close"):
        assert capabilities.get(name) is True, f"{name}: {capabilities}"
    connection.close()


def refused_login():
    credentials = pika.PlainCredentials(parameters().credentials.username, "wrong")
    try:
        pika.BlockingConnection(parameters(credentials=credentials))
    except ProbableAuthenticationError as error:
        assert "ACCESS_REFUSED" in str(error), error
    else:
        raise AssertionError("a wrong password is accepted")


def publish_as_pycti():
    """Each send opens a connection, publishes with a confirm for each message, and closes channel (code 0) and connection."""
    setup = pika.BlockingConnection(parameters())
    queue = durable_queue(setup.channel(), "pycti")
    for number in range(3):
        connection = pika.BlockingConnection(parameters())
        channel = connection.channel()
        channel.confirm_delivery()
        for part in range(5):
            channel.basic_publish("", queue, f"{number}.{part}".encode(), PERSISTENT)
        channel.close()
        connection.close()
    channel = setup.channel()
    bodies = [channel.basic_get(queue, auto_ack=True)[2].decode() for _ in range(15)]
    assert bodies == [f"{number}.{part}" for number in range(3) for part in range(5)], bodies
    setup.close()


def unroutable():
    connection = pika.BlockingConnection(parameters())
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("", queue_name("nowhere"), b"x", PERSISTENT)
        nacked = False
    except NackError:
        nacked = True
    assert nacked is not RABBITMQ, f"nacked: {nacked}"
    try:
        channel.basic_publish("", queue_name("nowhere"), b"body", PERSISTENT, mandatory=True)
    except UnroutableError as error:
        assert error.messages[0].body == b"body", error
    else:
        raise AssertionError("a mandatory message without a queue is accepted")
    queue = durable_queue(channel, "after")
    channel.basic_publish("", queue, b"x", PERSISTENT)
    connection.close()


def missing_queue():
    connection = pika.BlockingConnection(parameters())
    channel = connection.channel()
    try:
        channel.basic_consume(queue_name("missing"), lambda *_: None)
    except ChannelClosedByBroker as error:
        assert error.reply_code == 404, error
    else:
        raise AssertionError("a missing queue can be consumed")
    assert connection.channel().is_open
    connection.close()


def large_bodies():
    connection = pika.BlockingConnection(parameters())
    channel = connection.channel()
    channel.confirm_delivery()
    queue = durable_queue(channel, "large")
    for size in (0, 131064, 131065, 50_000_000):
        body = os.urandom(1000) * (size // 1000) + bytes(size % 1000)
        channel.basic_publish("", queue, body, PERSISTENT)
        method, _, received = channel.basic_get(queue)
        assert received == body, f"{size} bytes arrive as {len(received)}"
        channel.basic_ack(method.delivery_tag)
    connection.close()


def listen_as_pycti():
    """Prefetch 1, acknowledge at once, work in a thread while heartbeats are served."""
    connection = pika.BlockingConnection(parameters())
    channel = connection.channel()
    channel.confirm_delivery()
    queue = durable_queue(channel, "listen")
    channel.basic_qos(prefetch_count=1)
    done = []

    def work(body):
        time.sleep(0.05)
        done.append(body)

    for method, _, body in _published_then_consumed(channel, queue, 10):
        channel.basic_ack(method.delivery_tag)
        thread = threading.Thread(target=work, args=(body,))
        thread.start()
        while thread.is_alive():
            connection.sleep(0.02)
        if len(done) == 10:
            break
    channel.cancel()
    assert done == [str(number).encode() for number in range(10)], done
    connection.close()


def _published_then_consumed(channel, queue, number):
    for index in range(number):
        channel.basic_publish("", queue, str(index).encode(), PERSISTENT)
    return channel.consume(queue, inactivity_timeout=30)


def idle_longer_than_the_heartbeat():
    connection = pika.BlockingConnection(parameters(heartbeat=2))
    channel = connection.channel()
    connection.sleep(7)
    assert channel.queue_declare(queue_name("idle"), durable=True), "the connection lives"
    connection.close()


def cancelled_by_the_broker():
    connection = pika.BlockingConnection(parameters())
    channel = connection.channel()
    queue = durable_queue(channel, "cancelled")
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    channel.basic_consume(queue, lambda *_: None)
    connection.channel().queue_delete(queue)
    wait_for("cancelled", lambda: connection.process_data_events(0.05) or cancelled)
    connection.close()


def killed_consumer():
    """A consumer process that is killed with unacknowledged messages gives them back, in order and marked."""
    connection = pika.BlockingConnection(parameters())
    channel = connection.channel()
    channel.confirm_delivery()
    queue = durable_queue(channel, "killed")
    for number in range(10):
        channel.basic_publish("", queue, str(number).encode(), PERSISTENT)
    program = (
        "import pika, sys, time\n"
        "channel = pika.BlockingConnection(pika.URLParameters(sys.argv[1])).channel()\n"
        "channel.basic_qos(prefetch_count=6)\n"
        "seen = []\n"
        "for method, _, body in channel.consume(sys.argv[2]):\n"
        "    seen.append(body)\n"
        "    if len(seen) == 2: channel.basic_ack(method.delivery_tag, multiple=True)\n"
        "    if len(seen) == 6: print('ready', flush=True); time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, URL, queue], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    wait_for("given back", lambda: count(channel, queue) == 8)
    seen = []
    for _ in range(8):
        method, _, body = channel.basic_get(queue, auto_ack=True)
        seen.append((int(body), method.redelivered))
    assert [number for number, _ in seen] == list(range(2, 10)), seen
    assert all(redelivered for number, redelivered in seen if number < 6), seen
    assert not any(redelivered for number, redelivered in seen if number >= 8), seen
    connection.close()


def generator_consumer_left_early():
    """Upstream's worker leaves the generator with messages in hand; pika gives them back with nack."""
    connection = pika.BlockingConnection(parameters())
    channel = connection.channel()
    channel.confirm_delivery()
    queue = durable_queue(channel, "early")
    for number in range(20):
        channel.basic_publish("", queue, str(number).encode(), PERSISTENT)
    channel.basic_qos(prefetch_count=10)
    for method, _, _body in channel.consume(queue):
        channel.basic_ack(method.delivery_tag)
        break
    channel.cancel()
    wait_for("given back", lambda: count(channel, queue) == 19)
    connection.close()


CHECKS = [
    negotiation,
    refused_login,
    publish_as_pycti,
    unroutable,
    missing_queue,
    large_bodies,
    listen_as_pycti,
    idle_longer_than_the_heartbeat,
    cancelled_by_the_broker,
    killed_consumer,
    generator_consumer_left_early,
]

for check in CHECKS:
    started = time.monotonic()
    check()
    print(f"ok {check.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
print(f"{len(CHECKS)} checks passed against {'RabbitMQ' if RABBITMQ else 'the built-in broker'} with pika {pika.__version__}")
