#!/usr/bin/env python3
"""Publishing with one confirm per message, as connectors do: the built-in broker against RabbitMQ, and eight publishers against one.

usage: publish.py --rabbitmq AMQP_URL [--standalone PROGRAM] [--rounds 5] [--messages 1500] [--size 2048] [--json FILE]

Everything is measured in one run, interleaved: each round runs every candidate once, ratios are taken within a round, and the
medians over the rounds are printed. The flush latency of the disk is measured in every round as well, because a durable confirm
cannot be faster. See README.md.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

import pika

PUBLISHERS = 8
PERSISTENT = pika.BasicProperties(delivery_mode=2, content_encoding="utf-8")


def flush_latency(directory, count=200):
    """Median milliseconds of appending 4 KiB and flushing them to the disk."""
    path = os.path.join(directory, "flush")
    block = os.urandom(4096)
    times = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for _ in range(count):
        started = time.perf_counter()
        os.write(descriptor, block)
        os.fdatasync(descriptor)
        times.append(time.perf_counter() - started)
    os.close(descriptor)
    os.unlink(path)
    return statistics.median(times) * 1000


def publish(url, queue, messages, size, barrier, results):
    """Publishes after the barrier; puts start, end and processor seconds into the results."""
    body = os.urandom(size)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    # the first messages pay for the start of everything
    for _ in range(20):
        channel.basic_publish("", queue, body, PERSISTENT)
    barrier.wait()
    cpu = time.process_time()
    started = time.monotonic()
    for _ in range(messages):
        channel.basic_publish("", queue, body, PERSISTENT)
    ended = time.monotonic()
    results.put((started, ended, time.process_time() - cpu))
    connection.close()


def rate(url, publishers, messages, size):
    """Messages a second of that many publisher processes together, each with a queue of its own, and client CPU ms per message."""
    setup = pika.BlockingConnection(pika.URLParameters(url))
    channel = setup.channel()
    queues = [f"bench-{uuid.uuid4()}" for _ in range(publishers)]
    for queue in queues:
        channel.queue_declare(queue, durable=True)
    barrier = multiprocessing.Barrier(publishers)
    results = multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=publish, args=(url, queue, messages, size, barrier, results)) for queue in queues
    ]
    for process in processes:
        process.start()
    measured = [results.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    expected = messages + 20
    for queue in queues:
        found = channel.queue_declare(queue, passive=True).method.message_count
        assert found == expected, f"{found} of {expected} messages are in the queue"
        channel.queue_delete(queue)
    setup.close()
    seconds = max(end for _, end, _ in measured) - min(start for start, _, _ in measured)
    cpu = sum(cpu for _, _, cpu in measured)
    return publishers * messages / seconds, cpu / (publishers * messages) * 1000


class Standalone:
    """The broker in a process of its own, with its file in a directory of its own."""

    def __init__(self, program, directory):
        self.process = subprocess.Popen([program, directory], stdout=subprocess.PIPE, text=True)
        address = self.process.stdout.readline().strip().removeprefix("listening on ")
        self.url = f"amqp://guest:guest@{address}/%2f"

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def summary(values):
    return f"{statistics.median(values):8.2f}  [{min(values):.2f} to {max(values):.2f}]"


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rabbitmq", required=True, help="URL of a RabbitMQ, see scripts/rabbitmq-test-server")
    parser.add_argument("--standalone", default=os.path.join(root, "target/release/examples/standalone"))
    parser.add_argument("--directory", default=os.path.join(root, "target"), help="where the broker's file goes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=1500, help="of each publisher in each round")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--json", help="also write the figures there")
    options = parser.parse_args()
    if not os.path.exists(options.standalone):
        sys.exit(f"{options.standalone} is missing: cargo build --release -p ferrocti-broker --example standalone")
    figures = {"flush ms": [], "rabbitmq": [], "one": [], "eight": [], "one / rabbitmq": [], "eight / one": [], "server CPU ms": []}
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        broker = Standalone(options.standalone, os.path.join(directory, "broker"))
        try:
            for number in range(options.rounds):
                flush = flush_latency(directory)
                rabbitmq, _ = rate(options.rabbitmq, 1, options.messages, options.size)
                one, client_cpu = rate(broker.url, 1, options.messages, options.size)
                cpu = broker.cpu_seconds()
                eight, _ = rate(broker.url, PUBLISHERS, options.messages, options.size)
                server_cpu = (broker.cpu_seconds() - cpu) / (PUBLISHERS * options.messages) * 1000
                values = [flush, rabbitmq, one, eight, one / rabbitmq, eight / one, server_cpu]
                for key, value in zip(figures, values):
                    figures[key].append(value)
                print(
                    f"round {number + 1}: flush {flush:.2f} ms, RabbitMQ {rabbitmq:.0f}/s, one {one:.0f}/s, eight {eight:.0f}/s, "
                    f"CPU per message: client {client_cpu:.3f} ms, broker with eight {server_cpu:.3f} ms",
                    flush=True,
                )
        finally:
            broker.stop()
    print(f"\nmedian of {options.rounds} rounds [lowest to highest], {options.size} byte persistent messages, one confirm each")
    print(f"flush latency of the disk, ms        {summary(figures['flush ms'])}")
    print(f"RabbitMQ, one publisher, msg/s       {summary(figures['rabbitmq'])}")
    print(f"built-in, one publisher, msg/s       {summary(figures['one'])}")
    print(f"built-in, eight publishers, msg/s    {summary(figures['eight'])}")
    print(f"ratio built-in to RabbitMQ           {summary(figures['one / rabbitmq'])}   goal 1.0")
    print(f"ratio eight publishers to one        {summary(figures['eight / one'])}   goal 3.0")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
