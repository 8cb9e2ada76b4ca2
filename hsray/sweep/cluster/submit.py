"""A sweep as a Ray job: the experiment file travels, the rest is on the cluster, and the job outlives this machine."""

from __future__ import annotations

import logging
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from hsray.errors import HsrayError, RequestError
from hsray.tracking.client import redacted

SWEEP, VERSION = "hsray.sweep", "hsray.version"
# How long `ray job stop` waits before it kills: longer than a sweep takes to save its runs and to close them.
STOP_SECONDS = 30
WAIT_SECONDS, READY_SECONDS = 0.5, 60.0


class Cluster:
    """The jobs of a Ray cluster, by the address of its dashboard (`http://head:8265`)."""

    def __init__(self, address: str) -> None:
        """Raises RequestError where it does not answer, or asks for a token."""
        if "@" in address:
            raise RequestError(
                "an address with a password in it", where=redacted(address), do="use a token: see README"
            )
        self.address = address
        logging.getLogger("ray").setLevel(logging.WARNING)
        # Ray lets these two override the address that it is given.
        os.environ.pop("RAY_ADDRESS", None)
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        with _answering(address):
            self._client = JobSubmissionClient(address)

    def submit(self, experiment: Path, name: str, arguments: list[str]) -> str:
        """Start `hsray sweep` with the arguments on the head node; gives the job's id.

        Raises:
            RequestError: a job of this sweep is running there already.
        """
        with _answering(self.address):
            for job in self._client.list_jobs():
                if (job.metadata or {}).get(SWEEP) == name and not job.status.is_terminal():
                    raise RequestError(
                        f"the sweep '{name}' is running there already",
                        where=f"job {job.submission_id} at {self.address}",
                        do=f"wait for it, or stop it: ray job stop {job.submission_id} --address {self.address}",
                    )
            words = ["python", "-m", "hsray.sweep.cluster.submitted", version("hsray"), experiment.name, *arguments]
            with tempfile.TemporaryDirectory() as travels:
                shutil.copy(experiment, travels)  # alone: not the data, nor what else lies beside it
                return self._submit(
                    entrypoint=shlex.join(words),
                    submission_id=f"hsray-{name}-{time.strftime('%Y%m%d-%H%M%S')}",
                    metadata={SWEEP: name, VERSION: version("hsray")},
                    runtime_env={
                        "working_dir": travels,
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS), "PYTHONUNBUFFERED": "1"},
                    },
                )

    def _submit(self, **job: Any) -> str:
        """A cluster that has just been started answers a little before it takes jobs."""
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                return self._client.submit_job(**job)
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(WAIT_SECONDS)

    def status(self, job: str) -> JobStatus:
        with _answering(self.address):
            return self._client.get_job_status(job)

    def wait_for_start(self, job: str, said: str, seconds: float = 120) -> None:
        """Until the job's log holds `said`.

        Raises:
            HsrayError: it ended before; with what it said last.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with _answering(self.address):
                status, log = self._client.get_job_status(job), self._client.get_job_logs(job)
            if said in log:
                return
            if status.is_terminal():
                raise self.failed(job)
            time.sleep(WAIT_SECONDS)

    def follow(self, job: str) -> Iterator[str]:
        """What the job prints, as it prints it, from its beginning to its end."""
        seen = 0
        while True:
            with _answering(self.address):
                status, log = self._client.get_job_status(job), self._client.get_job_logs(job)
            yield log[seen:]
            seen = len(log)
            if status.is_terminal():
                return
            time.sleep(2 * WAIT_SECONDS)

    def failed(self, job: str) -> HsrayError:
        """The error of a job that has ended without success: its own words where it has some."""
        with _answering(self.address):
            log, details = self._client.get_job_logs(job), self._client.get_job_info(job)
        own = log[log.rfind("error: ") + len("error: ") :].strip() if "error: " in log else ""
        missing = "No module named" in log  # the head's `python` is not the one that has hsray
        return HsrayError(
            f"the job ended as {details.status.value}: {own or _reason(details)}",
            where=f"job {job} at {self.address}",
            do="install hsray on the cluster, and start Ray there with its `python` first on the PATH"
            if missing
            else None,
        )


def refuse_secrets(**options: str | None) -> None:
    """Whoever sees a cluster's jobs can read their commands. Raises RequestError where a password is in one."""
    for name, value in options.items():
        if value and redacted(value) != value:
            raise RequestError(
                "a URL with a password would stand in the clear in the job's command",
                where=f"--{name.replace('_', '-')} {redacted(value)}",
                do="leave the option out, and set the variable where Ray is started on the cluster",
            )


@contextmanager
def _answering(address: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationError:
        raise RequestError(
            "the cluster does not take our token"
            if os.environ.get("RAY_AUTH_MODE") == "token"
            else "it asks for a token",
            where=address,
            do="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token (its "
            "~/.ray/auth_token; `ray get-auth-token` prints it there)",
        ) from None
    except (ConnectionError, requests.RequestException, ValueError) as error:
        raise RequestError(
            f"no Ray cluster answers: {str(error).splitlines()[0]}",
            where=address,
            do="give --address the head's dashboard, such as http://head:8265, and see that its port is open",
        ) from None
    except RuntimeError as error:  # the way in which Ray's client passes on what the server refused
        raise HsrayError(f"Ray refused: {_brief(str(error))}", where=address) from None


def _reason(details: JobDetails) -> str:
    return _brief(details.message or "it said nothing")


def _brief(text: str) -> str:
    lines = [line.strip() for line in re.sub(r"\s*Traceback.*?(?=\n\S)", "", text, flags=re.S).splitlines()]
    return next((line for line in reversed(lines) if line), text)
