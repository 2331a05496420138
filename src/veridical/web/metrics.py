"""Counts for Prometheus; each application has a registry of its own."""

from __future__ import annotations

from fastapi import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    disable_created_metrics,
    generate_latest,
)

ANSWERED = "answered"


class CodeCounter:
    """A counter of each thing that happened: `answered`, or the code of an error."""

    def __init__(self, registry: CollectorRegistry, name: str, what: str) -> None:
        # When a counter began is of no use here, and doubles the lines.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client's own lack
        self._name = name
        self._registry = registry
        self._counter = Counter(name, what, ["code"], registry=registry)

    def add(self, code: str) -> None:
        """Count one more."""
        self._counter.labels(code).inc()

    def __getitem__(self, code: str) -> int:
        return int(self._registry.get_sample_value(self._name, {"code": code}) or 0)


def metrics_response(registry: CollectorRegistry) -> Response:
    """All of a registry, in Prometheus' text format."""
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
