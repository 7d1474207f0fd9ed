"""Image classifiers that decide from the object, not from its background."""

import os

from fieldmark.core import telemetry

telemetry.silence()  # before any tool is imported: most of them read the environment only once
# Threads that wait must sleep: two cells on two cores (a flow, a busy machine) otherwise spin each other to half speed
# (measured: 25 against 11 ms an image). Read when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
