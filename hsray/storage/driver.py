"""The driver of a sweep whose runs lie in a store: a folder of its own, kept equal to the store."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from hsray.errors import HsrayError, MachineFault
from hsray.runlog import RESULT, keep_epochs, read_epochs, write_atomically, writing
from hsray.storage.address import drivers_folder, is_remote
from hsray.storage.claim import BEAT_S, Claim
from hsray.storage.formats import FORMAT, read_object
from hsray.storage.mirror import AT_ONCE, LOG, fetch
from hsray.storage.place import Home
from hsray.storage.reconcile import reconcile, send_results
from hsray.storage.store import Store
from hsray.storage.worker import STOP

PATIENCE_S = 300.0  # of the driver: runs go on meanwhile
GOODBYE_S = 5.0
AGAIN_S = 2.0  # until the heartbeat is tried again
HOME = "home.json"
Say = Callable[[str], None]


class StoredHome(Home):
    """A sweep whose runs lie in a store. What the driver reads of them it has in its own folder.

    Raises (every method):
        MachineFault: the store did not answer for minutes.
        HsrayError: another driver has taken the sweep over.
    """

    def __init__(self, store: Store, folder: Path, claim: Claim, say: Say) -> None:
        super().__init__(folder)
        self.store, self.claim, self.at = store, claim, store.uri
        self._say = say
        self.ticket = json.dumps({"runs": store.uri, "driver": claim.name})
        self._epochs: dict[Path, int] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hsray-store")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="hsray-claim", daemon=True)

    def keep(self, file: Path) -> None:
        self.store.put(self._name(file), file.read_bytes())

    def hand_out(self, run: Path) -> None:
        self._check()
        self.store.put(f"{self._name(run)}/spec.json", (run / "spec.json").read_bytes())
        self._epochs[run] = max((record["epoch"] for record in read_epochs(run)), default=-1)

    def heard(self, run: Path, line: str | None) -> None:
        if line is None:
            return
        epoch = json.loads(line)["epoch"]
        if epoch <= self._epochs[run]:  # trained again from a checkpoint
            keep_epochs(run, epoch)
        with writing(run / LOG), (run / LOG).open("a", encoding="utf-8") as log:
            log.write(line + "\n")
        self._epochs[run] = epoch

    def ended(self, run: Path) -> None:
        if not (run / RESULT).exists():
            name = self._name(run)
            # The result first: once it is there, the log is complete.
            fetch(self.store, {f"{name}/{RESULT}": run / RESULT})
            if (run / RESULT).exists():
                fetch(self.store, {f"{name}/{LOG}": run / LOG})

    def decided(self, run: Path) -> None:
        self._later(lambda: send_results(self.store, self.folder, self._name(run)))

    def discard(self, file: Path) -> None:
        super().discard(file)
        self._later(lambda: self.store.delete(self._name(file)))

    @contextmanager
    def borrowed(self, run: Path, names: Sequence[str]) -> Iterator[None]:
        missing = [name for name in names if not (run / name).exists()]
        fetch(self.store, {f"{self._name(run)}/{name}": run / name for name in missing})
        try:
            yield
        finally:
            for name in missing:
                (run / name).unlink(missing_ok=True)

    def start(self) -> None:
        """Make the folder what the store has, and be this sweep's driver from now on.

        A folder of a driver that was not the last one is put aside: others have gone on since.

        Raises:
            RequestError: the store's sweep is of another format; nothing was touched.
        """
        content, mine = self.store.get(HOME), self.folder / f".{HOME}"
        if content is not None:
            read_object(content, f"{self.store.uri}/{HOME}", "home")
        if self.folder.exists() and content is not None and (not mine.exists() or mine.read_bytes() != content):
            names = (self.folder.with_name(f"{self.folder.name}.{number}") for number in itertools.count(1))
            self.folder.rename(next(path for path in names if not path.exists()))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        reconcile(self.store, self.folder)
        if not mine.exists():
            content = json.dumps({"format": FORMAT, "home": uuid.uuid4().hex}).encode()
            write_atomically(mine, content)
        self.store.put(HOME, mine.read_bytes())

    def close(self, *, hurry: bool) -> None:
        """Send what is not sent yet, and give the sweep free. In a `hurry` the next command may do so."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if hurry:
            self.store.patience = GOODBYE_S
        self._pool.shutdown(cancel_futures=True)  # what was left is found by comparing
        if self.claim.lost is not None:
            return
        with suppress(MachineFault) if hurry else nullcontext():
            if self._thread.ident is not None:  # it has started
                reconcile(self.store, self.folder)
            self.claim.release()

    def _keep(self) -> None:
        """The driver's heartbeat, and its word to the runs. What goes wrong is tried again: silence loses the sweep."""
        beaten, told, said = time.monotonic(), None, False
        stop, noted = self.folder / STOP, False
        while not noted and not self._over.wait(0.3):
            try:
                if self.claim.lost is None:
                    wanted = _wanted(stop)
                    if wanted == told and time.monotonic() - beaten < BEAT_S:
                        continue
                    self.claim.beat(wanted)
                    told, beaten, said = wanted, time.monotonic(), False
                if self.claim.lost is not None:
                    write_atomically(stop, self.claim.lost.encode())
                    noted = True
            # Of the store and the disk (OSError: what pyarrow passes on), of objects that others wrote.
            except (HsrayError, OSError, ValueError, KeyError, TypeError) as error:
                if not said:
                    self._say(f"this driver's sign of life failed and is tried again: {error}")
                said = True
                self._over.wait(AGAIN_S)

    def _check(self) -> None:
        if self.claim.lost is not None:
            raise HsrayError(self.claim.lost, where=self.store.uri, do="leave it to that one, or end it first")

    def _later(self, action: Callable[[], None]) -> None:
        """What does not come about is made up for by the comparison at the end."""
        self._check()
        self._pool.submit(action)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def _wanted(stop: Path) -> str | None:
    """Why the runs are to stop, if they are. A request that cannot be read is one, and no reason to fall silent."""
    try:
        return stop.read_text("utf-8", errors="replace") or "stop"
    except OSError:
        return "stop" if stop.exists() else None


@contextmanager
def home(runs: str | Path, name: str, say: Say) -> Iterator[Home]:
    """Where a sweep's driver works. `runs` is a folder that all nodes see, or the address of a store.

    Raises:
        RequestError: the store cannot be used, or another driver has the sweep; it is named.
    """
    if not is_remote(runs):
        yield Home((Path(runs) / name).resolve())
        return
    top = Store(str(runs))
    top.check()
    store = Store(f"{top.uri}/{name}", PATIENCE_S)
    claim = Claim(store)
    claim.acquire(say)
    found = StoredHome(store, drivers_folder(top.uri, name), claim, say)
    try:
        say(f"reading what {store.uri} has of this sweep")
        found.start()
        yield found
    except BaseException:
        found.close(hurry=True)
        raise
    found.close(hurry=False)
