"""What a flow run says on its worker's terminal; the server gets it anyway."""

from contextlib import suppress
from logging import LogRecord

from prefect.logging.handlers import PrefectConsoleHandler


class Console(PrefectConsoleHandler):
    """Prefect's handler, for runs that outlive their worker: a line that nobody reads any more ends nothing."""

    def emit(self, record: LogRecord) -> None:
        """Print a record; say nothing from then on where the reader has gone."""
        with suppress(SystemExit):  # how rich, which prints, answers a broken pipe
            super().emit(record)
