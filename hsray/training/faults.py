"""Errors that are the machine's doing, and not the run's: it can be tried again."""

from __future__ import annotations

import errno
from pathlib import Path

from torch.distributed import DistError

from hsray.errors import MachineFault

_OF_THE_MACHINE = {
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EREMOTEIO,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.EMFILE, errno.ENFILE, errno.EAGAIN,
}  # fmt: skip
_OF_A_PEER = ("gloo", "nccl", "processgroup", "connection closed by peer", "connection reset", "timed out", "socket")


def machine_fault(error: Exception, folder: Path) -> MachineFault | None:
    """What to say where the machine failed the run of `folder`: a disk or a share, or a process that reads ahead."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        where = str(error.filename or folder)
        return MachineFault(
            f"the machine's files failed: {error.strerror}",
            where=where,
            do="mend it; then run the same command again",
        )
    # So torch says that such a process was killed, most often for want of memory; its own errors keep their kind.
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid"):
        return MachineFault(
            f"a process that reads ahead was lost: {error}",
            where=str(folder),
            do="give the machine more memory, or set `loaders: 0`",
        )
    return None


def lost_a_peer(error: Exception) -> bool:
    """Whether this is what workers say to whom another one died. Gloo says it in a plain RuntimeError."""
    if isinstance(error, DistError):
        return True
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in _OF_A_PEER)
