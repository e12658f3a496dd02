"""A bot's side of Pilothouse's `amqp` sink, to start from: takes events from RabbitMQ and prints them.

    pip install pika
    AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f python consumer.py

It declares a durable queue, so that events wait in RabbitMQ while the bot is away.
"""

import collections
import json
import os
import sys
import traceback

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
EXCHANGE = os.environ.get("AMQP_EXCHANGE", "pilothouse")
QUEUE = os.environ.get("AMQP_QUEUE", "bot")
# Which events, by TYPE.GUILD: "MESSAGE_CREATE.*", "*.GUILD", "#" for all. What no queue is bound for waits in the
# agent; bind only some types and set `unroutable = "drop"` there.
BINDINGS = os.environ.get("AMQP_BINDINGS", "#").split(",")

# The agent publishes again what RabbitMQ did not confirm in time, with the same message_id, so an event can come twice.
# Keep the last ids; a bot that must not act twice even after its own restart keeps them in its database.
REMEMBERED = 100_000
seen = collections.OrderedDict()
# Seconds before an event comes again after the bot's own code failed on it.
PAUSE = 1


def remember(message_id):
    seen[message_id] = None
    if len(seen) > REMEMBERED:
        seen.popitem(last=False)


def read(body):
    event = json.loads(body)
    event["payload"]["t"], event["shardId"]
    return event


def handle(event, properties):
    """The bot's work. event is {"payload": {"op": 0, "t": …, "s": …, "d": …}, "shardId": …}."""
    print(event["payload"]["t"], properties.message_id, f"shard={event['shardId']}", flush=True)


def on_message(channel, method, properties, body):
    try:
        event = read(body)
    except (KeyError, TypeError, ValueError) as error:
        # It will never be readable: do not send it again. A queue with a dead-letter exchange keeps it.
        print(f"an event that cannot be read: {error!r}", file=sys.stderr)
        return channel.basic_nack(method.delivery_tag, requeue=False)
    if properties.message_id not in seen:
        try:
            handle(event, properties)
        except Exception:
            # The bot's fault, not the event's: it comes again, at the front of the queue. A queue of type `quorum` can
            # limit how often (`x-delivery-limit`).
            traceback.print_exc()
            channel.connection.sleep(PAUSE)
            return channel.basic_nack(method.delivery_tag, requeue=True)
        remember(properties.message_id)
    # Acknowledge when the work is done, not before: a bot that crashes in between gets the event again.
    channel.basic_ack(method.delivery_tag)


def main():
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    # As the agent declares it, so that either may start first.
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    channel.queue_declare(QUEUE, durable=True)
    for binding in BINDINGS:
        channel.queue_bind(QUEUE, EXCHANGE, binding.strip())
    # Events that RabbitMQ hands over before the first of them is acknowledged.
    channel.basic_qos(prefetch_count=100)
    channel.basic_consume(QUEUE, on_message)
    print("consuming", flush=True)
    channel.start_consuming()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
