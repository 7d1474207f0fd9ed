"""Image classifiers that decide from the object, not from its background."""

from fieldmark.core import telemetry

telemetry.silence()  # before any tool is imported: most of them read the environment only once
