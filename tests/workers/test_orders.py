"""A worker gets the very configuration that its supervisor has."""

from __future__ import annotations

import io
from pathlib import Path

from proxy.workers.orders import Order, decoded_config, encoded, encoded_config, read_order
from tests.support.configs import config, route

CONFIG = config(
    workers=2,
    routes=[route(ttl="5m", negative={"404": "30s"}, identity={"header": "X-User"})],
    data_purge={"from": ["10.0.0.0/8"]},
    logs={"access": "1%"},
)


def test_an_order_arrives_as_it_was_given() -> None:
    order = Order(1, "pod-7-1", CONFIG, (5, 6), Path("/t/1"), Path("/t/supervisor"))

    assert read_order(io.BytesIO(encoded(order))) == order


def test_a_supervisor_that_ended_gave_none() -> None:
    assert read_order(io.BytesIO(b"")) is None


def test_a_configuration_arrives_with_what_was_given_and_what_was_inherited() -> None:
    arrived = decoded_config(encoded_config(CONFIG))

    assert arrived == CONFIG
    assert arrived.routes[0].model_fields_set == CONFIG.routes[0].model_fields_set
