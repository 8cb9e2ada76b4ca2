"""Addresses of stores: any of pyarrow's file systems. Endpoints and credentials come from the environment alone."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from pyarrow import ArrowInvalid
from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem, resolve_s3_region

from hsray.errors import RequestError

TIMEOUTS_S = {"connect_timeout": 5, "request_timeout": 10}
FROM_ENVIRONMENT = (
    "give the bucket and the prefix alone; endpoint and credentials come from the environment "
    "(AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or a profile)"
)


def is_remote(runs: str | Path) -> bool:
    """Whether runs lie in a store and not in a folder."""
    return isinstance(runs, str) and "://" in runs


def file_system(uri: str) -> tuple[FileSystem, str]:
    """The file system of `scheme://bucket/prefix`, and the path in it.

    Raises:
        RequestError: the address holds credentials or settings, or is of no kind that pyarrow knows.
    """
    parts = urlsplit(uri)
    # A password may hold a slash, so that its end stands in the path: nothing of such an address is repeated.
    account = parts.scheme in ("abfs", "abfss") and ":" not in parts.netloc  # container@account is an address there
    port = parts.scheme in ("hdfs", "viewfs")
    if ("@" in parts.netloc and not account) or (":" in parts.netloc and not port) or parts.query or parts.fragment:
        what = "the address of the runs holds more than an address"
        raise RequestError(what, where=f"{parts.scheme}://…", do=FROM_ENVIRONMENT)
    do = "write it as s3://bucket/prefix, gs://bucket/prefix or file:///folder, or give a folder"
    if not parts.netloc.strip() and not parts.path.strip("/"):
        raise RequestError("the address of the runs names no bucket and no folder", where=uri, do=do)
    if parts.scheme == "s3":
        return _s3(parts.netloc), f"{parts.netloc}{parts.path}".rstrip("/")
    try:
        found, path = FileSystem.from_uri(uri)
    except (ArrowInvalid, OSError) as error:
        raise RequestError(f"no store has this address: {error}", where=uri, do=do) from None
    return found, path.rstrip("/")


def scratch() -> Path:
    """Where a machine keeps its copies: HSRAY_SCRATCH, or a folder among the temporary ones. It is there afterwards.

    Raises:
        RequestError: HSRAY_SCRATCH is not set, and somebody else has made that folder.
    """
    given = os.environ.get("HSRAY_SCRATCH")
    folder = Path(given).resolve() if given else Path(tempfile.gettempdir()) / f"hsray-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    found = folder.lstat()  # of a link itself: anybody can put one here
    if not given and (found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode)):
        what = "the folder for copies of runs is somebody else's, or no folder"
        raise RequestError(what, where=str(folder), do="set HSRAY_SCRATCH to a folder of your own, on every node")
    return folder


def drivers_folder(uri: str, name: str) -> Path:
    """The driver's own folder of a sweep whose runs lie in a store."""
    given = os.environ.get("HSRAY_SCRATCH")
    root = Path(given) / "sweeps" if given else Path(".hsray-runs")
    return (root / hashlib.sha256(uri.rstrip("/").encode()).hexdigest()[:8] / name).resolve()


def _s3(bucket: str) -> S3FileSystem:
    # Built here and not from the URI, so that a small object is one request and not three.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    where: dict[str, str] = {}
    if endpoint:
        parts = urlsplit(endpoint)
        where = {"scheme": parts.scheme, "endpoint_override": parts.netloc + parts.path.rstrip("/")}
    if not region:
        region = "us-east-1" if endpoint else _region(bucket)
    once = AwsStandardS3RetryStrategy(max_attempts=1)  # the store tries again, and knows for how long
    return S3FileSystem(region=region, allow_delayed_open=True, retry_strategy=once, **where, **TIMEOUTS_S)


def _region(bucket: str) -> str:
    try:
        return resolve_s3_region(bucket)
    except OSError as error:
        do = "create the bucket, mend its name, or set AWS_REGION or AWS_ENDPOINT_URL"
        raise RequestError(f"the bucket is not found: {error}", where=f"s3://{bucket}", do=do) from None
