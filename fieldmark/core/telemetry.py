"""Every tool's telemetry is off unless the user's environment says otherwise.

The switches live in ``telemetry.env``, which the Makefile includes too.
"""

import os
from importlib import resources


def switches() -> dict[str, str]:
    """Return the environment variables that keep the tools quiet.

    >>> switches()["DO_NOT_TRACK"]
    '1'
    """
    lines = resources.files("fieldmark.core").joinpath("telemetry.env").read_text().split()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def silence() -> None:
    """Set each switch that the environment does not already hold."""
    for name, value in switches().items():
        os.environ.setdefault(name, value)
