"""One way to an MLflow server or store: quiet, quick to say that it does not answer, and silent about passwords."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hsray.errors import RequestError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PATIENCE_S = 5  # for the first answer
PAGE = 1000


def open_client(uri: str, *, to_write: bool = False) -> MlflowClient:
    """A client of a server (`http://…`) or of a store (`sqlite:///mlflow.db`), which is made if it is `to_write`.

    Raises:
        RequestError: nobody answers there within seconds, or what answers is not a usable MLflow.
    """
    _quiet()
    from mlflow import MlflowClient

    with answering(uri):
        if not uri.startswith(("http://", "https://", "databricks")):
            _probe_database(uri, to_write)  # MLflow itself tries an unreachable database for a minute.
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def answering(uri: str, patience_s: int = PATIENCE_S) -> Iterator[None]:
    """Within it, whatever goes wrong between us and MLflow is a RequestError, after seconds and not minutes."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    before = os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT")
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(patience_s)
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if isinstance(error, MlflowException) and error.error_code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise RequestError(
                "MLflow lets nobody in without a user name and password that it knows and that suffice",
                where=redacted(uri),
                do="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment",
            ) from None
        raise RequestError(
            f"MLflow does not answer: {brief(error, uri)}",
            where=redacted(uri),
            do="start the server, or set MLFLOW_TRACKING_URI to one that runs or to a store such as sqlite:///mlflow.db",
        ) from None
    finally:
        if before is None:
            os.environ.pop("MLFLOW_HTTP_REQUEST_TIMEOUT", None)
        else:
            os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = before


def all_runs(client: MlflowClient, experiment_id: str, filter_string: str = "") -> list[Run]:
    """Every run of an experiment that is not deleted, oldest first."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], filter_string, max_results=PAGE, order_by=["start_time ASC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return runs


def redacted(uri: str) -> str:
    """The address without user, password and query."""
    return _hidden(uri).split("?")[0]


def _hidden(text: str) -> str:
    """Without users and passwords, which may hold any character but white space."""
    return re.sub(r"://(?!/)\S*@", "://***@", text)


def brief(error: Exception, uri: str) -> str:
    """The first line of an error, without secrets."""
    text = str(error).replace(uri, redacted(uri)).strip() or type(error).__name__
    text = _hidden(text.splitlines()[0])
    return text if len(text) <= 300 else text[:300] + " …"


def _quiet() -> None:
    """No telemetry, no links on standard output, no log lines across a live display.

    Requests are not repeated by MLflow: it would repeat the creation of a run that did take place. The tracker repeats.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    import mlflow  # noqa: F401  (sets its loggers up, which are then turned down)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _probe_database(uri: str, to_write: bool) -> None:
    from sqlalchemy import create_engine, inspect

    engine = create_engine(uri)
    path = engine.url.database
    if engine.dialect.name == "sqlite" and path and not to_write and not Path(path).exists():
        raise RequestError(
            "there is no MLflow store", where=redacted(uri), do="run a sweep first, or name another store"
        )
    try:
        inspect(engine).get_table_names()
    finally:
        engine.dispose()
