"""A file system so small that it can be filled: a tmpfs, which only root may mount."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

SIZE = "24m"
BLOCK = b"\0" * 65536


class SmallDisk:
    """Mounted at a folder until `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ballast = folder, folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)

    @staticmethod
    def possible() -> bool:
        """Whether this process may mount: root outside of most containers."""
        return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0

    def fill(self) -> None:
        """To the last byte that is free now."""
        with self.ballast.open("ab", buffering=0) as file:
            for size in (len(BLOCK), 4096, 1):
                try:
                    while file.write(BLOCK[:size]):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
