"""Files that runs left in MLflow, fetched once."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.mirror.files import PARTIAL

SERVED = ("mlflow-artifacts", "http", "https")  # what only an MLflow server hands out


def fetch(artifact_uri: str | None, name: str, path: Path, aside: Path, uri: str) -> bool:
    """Put a run's artefact `name` to `path`, whole or not at all; False where the run has none.

    `artifact_uri` is the run's, `uri` that of MLflow; `aside` is a folder on the disk of `path`. A file of this machine
    is copied; everything else is fetched by MLflow's client.

    Raises:
        RequestError: MLflow or what keeps its artefacts does not answer.
        HsrayError: the copy cannot be written.
    """
    if not artifact_uri:
        return False
    local = _local(artifact_uri)
    if local is not None and not (local / name).is_file():
        return False
    try:
        aside.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=aside) as folder:
            if local is not None:
                copied: Path | None = Path(shutil.copyfile(local / name, Path(folder) / "copy"))
            else:
                copied = _download(artifact_uri, name, Path(folder), uri)
            if copied is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(copied, path)
    except OSError as error:
        raise HsrayError(f"an artefact cannot be kept: {error}", where=str(path)) from None
    return copied is not None


def _local(artifact_uri: str) -> Path | None:
    """The folder, where it is one of this machine."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(artifact_uri)


def _download(artifact_uri: str, name: str, folder: Path, uri: str) -> Path | None:
    from hsray.leaderboard.mirror.served import READING_S
    from hsray.tracking.client import answering, brief

    scheme = urlsplit(artifact_uri).scheme
    if scheme in SERVED:
        uri = _server(uri, artifact_uri)
    try:
        with answering(uri, READING_S):
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            repository = get_artifact_repository(artifact_uri, tracking_uri=uri)
            parent = name.rpartition("/")[0] or None
            if name not in {file.path for file in repository.list_artifacts(parent) if not file.is_dir}:
                return None
            return Path(repository.download_artifacts(name, str(folder)))
    except _faults(scheme) as error:
        raise RequestError(
            f"the artefact store does not answer: {brief(error, uri)}",
            where=artifact_uri,
            do="look whether it runs and whether the environment has its keys (AWS_…, MLFLOW_S3_ENDPOINT_URL)",
        ) from None
    except ModuleNotFoundError as error:
        what = f"artefacts of {scheme}:// need a package that is not installed: {error.name}"
        raise RequestError(what, where=artifact_uri, do=f"pip install {error.name}") from None


def _faults(scheme: str) -> tuple[type[Exception], ...]:
    """What MLflow lets through of an object store's errors."""
    if scheme != "s3":
        return ()
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _server(uri: str, artifact_uri: str) -> str:
    """The MLflow server to ask: the source's own, or where that is a database the environment's."""
    for candidate in (uri, os.environ.get("MLFLOW_TRACKING_URI", "")):
        if candidate.startswith(("http://", "https://")):
            _reach(candidate)
            return candidate
    raise RequestError(
        "these artefacts are handed out by an MLflow server only",
        where=artifact_uri,
        do="set MLFLOW_TRACKING_URI to the server's address",
    )


@lru_cache(maxsize=8)
def _reach(uri: str) -> None:
    """Quick to say that nobody answers."""
    from hsray.tracking.client import open_client

    open_client(uri)
