"""The checks of a whole configuration: each row of the tables looks for one kind of fault or danger."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from proxy.config.cautions import CAUTIONS
from proxy.config.faults import Finding
from proxy.config.route_faults import ROUTE_FAULTS
from proxy.config.schema import Config
from proxy.config.server_faults import SERVER_FAULTS

Check = Callable[[Config], Iterator[Finding]]


def faults(config: Config) -> tuple[Finding, ...]:
    """What must be changed before this configuration can be used."""
    return _found(config, (*SERVER_FAULTS, *ROUTE_FAULTS))


def warnings(config: Config) -> tuple[Finding, ...]:
    """What is legal but dangerous."""
    return _found(config, CAUTIONS)


def _found(config: Config, checks: tuple[Check, ...]) -> tuple[Finding, ...]:
    # An inherited value is found once for each route that inherits it, and told once.
    return tuple(dict.fromkeys(finding for check in checks for finding in check(config)))
