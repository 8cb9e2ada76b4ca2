"""What submit does and prints."""

from __future__ import annotations

from pathlib import Path

from hsray.commands.console import err


def submit_sweep(
    experiment: Path,
    address: str,
    data: str | None,
    runs: str | None,
    tracking_uri: str | None,
    *,
    smoke: bool,
    follow: bool,
) -> None:
    """Check the file, submit it, and say how to follow, stop and read the job."""
    from hsray.experiment import load_experiment

    loaded = load_experiment(experiment, smoke=smoke)
    # Ray takes seconds to import: only once the file is known to be right.
    from ray.job_submission import JobStatus

    from hsray.sweep.cluster.submit import Cluster, refuse_secrets
    from hsray.sweep.cluster.submitted import STARTED

    options = {"data": data, "runs": runs, "tracking_uri": tracking_uri}
    refuse_secrets(**options)
    arguments = [word for name, value in options.items() if value for word in (f"--{name.replace('_', '-')}", value)]
    cluster = Cluster(address)
    job = cluster.submit(experiment, loaded.name, arguments + (["--smoke"] if smoke else []))
    print(f"submitted as {job}")
    for verb, use in (("logs --follow", "follow"), ("stop", "stop"), ("status", "status")):
        print(f"  {use + ':':8}ray job {verb} {job} --address {address}")
    cluster.wait_for_start(job, STARTED)
    if not follow:
        print("it runs on the cluster, whatever becomes of this machine; submit it again to go on after a stop")
        return
    try:
        for text in cluster.follow(job):
            print(text, end="", flush=True)
    except KeyboardInterrupt:
        err.print("no longer followed; the job goes on")
        return
    if cluster.status(job) is not JobStatus.SUCCEEDED:
        raise cluster.failed(job)
