"""Every file that people use as it is passes the check of its kind, and a file that is wrong does not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.infra.checks import (
    BOARD,
    INFRA,
    board,
    compose,
    dockerfile,
    manifests,
    prometheus,
    ray_cluster,
    required_variables,
    script,
)

Check = Callable[[Path], list[str]]
KUBERAY = INFRA / "kuberay"
FILES: dict[Path, Check] = {
    INFRA / "Dockerfile": dockerfile,
    INFRA / "compose" / "mlflow" / "Dockerfile": dockerfile,
    INFRA / "slurm" / "sweep.sbatch": script,
    INFRA / "compose" / "mlflow" / "start.sh": script,
    INFRA / "compose" / "s3" / "start.sh": script,
    INFRA / "compose" / "compose.yaml": compose,
    INFRA / "compose" / "prometheus" / "prometheus.yml": prometheus,
    INFRA / "ray" / "cluster.yaml": ray_cluster,
    KUBERAY / "raycluster.yaml": manifests,
    KUBERAY / "rayjob.yaml": manifests,
    KUBERAY / "storage.yaml": manifests,
    KUBERAY / "network.yaml": manifests,
    BOARD: board,
}
# By file: what is replaced by what, once. Each must be noticed.
MUTANTS: list[tuple[Path, str, str]] = [
    (INFRA / "Dockerfile", "FROM python:${PYTHON} AS hsray", "FROM python AS hsray"),
    (INFRA / "Dockerfile", "WORKDIR /home/ray", "WORKDIRS /home/ray"),
    (INFRA / "compose" / "mlflow" / "Dockerfile", "WORKDIR /tmp", "WORKDIR tmp"),
    (INFRA / "slurm" / "sweep.sbatch", "for number in", "fr number in"),
    (INFRA / "slurm" / "sweep.sbatch", '"$driver" || status=$?', "$drivr || status=$?"),
    (INFRA / "compose" / "mlflow" / "start.sh", '"${#value}" -lt 12', "${#vale -lt 12"),
    (INFRA / "compose" / "s3" / "start.sh", '"${SECRETS:-/run/secrets}/s3_access_key"', "$NOWHERE/s3_access_key"),
    (INFRA / "compose" / "compose.yaml", "    image: postgres", "    imagee: postgres"),
    (INFRA / "compose" / "compose.yaml", "    restart: unless-stopped", "    restart: 3"),
    (INFRA / "compose" / "compose.yaml", "condition: service_healthy", "condition: service_fine"),
    (INFRA / "compose" / "compose.yaml", "secrets: [postgres_password]", "secrets: [unknown]"),
    (INFRA / "compose" / "prometheus" / "prometheus.yml", "scrape_interval:", "scrape_every:"),
    (INFRA / "compose" / "prometheus" / "prometheus.yml", "refresh_interval: 30s", "refresh_interval: often"),
    (INFRA / "ray" / "cluster.yaml", "max_workers:", "maximum_workers:"),
    (INFRA / "ray" / "cluster.yaml", "idle_timeout_minutes: 15", "idle_timeout_minutes: soon"),
    (KUBERAY / "raycluster.yaml", "authOptions:", "authOption:"),
    (KUBERAY / "raycluster.yaml", 'num-cpus: "0"', "num-cpus: 0"),
    (KUBERAY / "raycluster.yaml", "maxReplicas: 8", "maxReplicas: many"),
    (KUBERAY / "raycluster.yaml", "mountPath: /data", "mountpath: /data"),
    (KUBERAY / "raycluster.yaml", "containerPort: 6379", 'containerPort: "6379"'),
    (KUBERAY / "rayjob.yaml", "backoffLimit: 5", "backOffLimit: 5"),
    (KUBERAY / "rayjob.yaml", "submissionMode: K8sJobMode", "submissionMode: Somehow"),
    (KUBERAY / "rayjob.yaml", "restartPolicy: Never", "restartPolicy: [Never]"),
    (KUBERAY / "storage.yaml", "accessModes: [ReadWriteMany]", "accessModes: ReadWriteMany"),
    (KUBERAY / "storage.yaml", "storageClassName:", "storageClass:"),
    (KUBERAY / "network.yaml", "policyTypes:", "policyType:"),
    (KUBERAY / "network.yaml", "kind: NetworkPolicy", "kind: NetworkPolice"),
    (BOARD, '"gridPos"', '"gridPosition"'),
    (BOARD, '"id": 1', '"id": "1"'),
]


def test_every_file_has_its_check() -> None:
    kinds = {".yaml", ".yml", ".sh", ".sbatch", ".json"}
    there = {path for path in [*INFRA.rglob("*"), *BOARD.parent.iterdir()] if path.suffix in kinds}
    there |= set(INFRA.rglob("Dockerfile"))
    provisioning = set((INFRA / "compose" / "grafana").rglob("*.yaml"))  # read by its own test
    assert there - provisioning == set(FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA.parent)))
def test_files_are_as_they_should_be(path: Path) -> None:
    assert FILES[path](path) == []


@pytest.mark.parametrize(("path", "before", "after"), MUTANTS, ids=lambda value: getattr(value, "name", value))
def test_a_mutant_is_noticed(path: Path, before: str, after: str, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    assert before in text
    mutant = tmp_path / path.name
    mutant.write_text(text.replace(before, after, 1), "utf-8")
    assert FILES[path](mutant) != []


@pytest.mark.parametrize("missing", required_variables())
def test_compose_refuses_an_empty_secret(missing: str) -> None:
    values = {name: "" if name == missing else "x" * 20 for name in required_variables()}
    [problem] = compose(INFRA / "compose" / "compose.yaml", **values)
    assert missing in problem and ".env" in problem


def test_every_port_of_compose_is_bound_to_loopback() -> None:
    services = yaml.safe_load((INFRA / "compose" / "compose.yaml").read_text("utf-8"))["services"]
    ports = [str(port) for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    in_the_hosts_network = {name for name, service in services.items() if service.get("network_mode") == "host"}
    assert in_the_hosts_network == {"prometheus", "grafana"}
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_images_are_pinned() -> None:
    """A tag with a version, or one that is built here."""
    texts = [path.read_text("utf-8") for path in INFRA.rglob("*") if path.is_file()]
    images = {image for text in texts for image in re.findall(r"^\s*image: (\S+)", text, re.MULTILINE)}
    images |= {image for text in texts for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE)}
    ours = {image for image in images if image.startswith("hsray:")} | {"python:${PYTHON}"}
    assert images - ours and all(re.search(r":v?\d+\.\d+", image) for image in images - ours)


def test_no_secret_stands_in_a_file() -> None:
    """Passwords, tokens and database addresses come from the environment, from files or from Secrets."""
    for path in INFRA.rglob("*"):
        if path.is_file():
            text = path.read_text("utf-8")
            assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", text), path
            given = re.search(r"(?i)(password|token|secret_key)\s*[:=]\s*['\"]?[A-Za-z0-9+/]{8,}['\"]?\s*$", text)
            assert not given, path


def test_the_image_holds_what_it_is_made_from() -> None:
    """What the Dockerfile copies is let through by its ignore file, and exists."""
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (INFRA / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    kept = {line[1:] for line in (INFRA / "Dockerfile.dockerignore").read_text("utf-8").split() if line[0] == "!"}
    assert names == kept and all((INFRA.parent / name).exists() for name in names)


def test_grafana_finds_its_datasource_and_our_board() -> None:
    services = yaml.safe_load((INFRA / "compose" / "compose.yaml").read_text("utf-8"))["services"]
    grafana = INFRA / "compose" / "grafana"
    [source] = yaml.safe_load((grafana / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://127.0.0.1:9090" and source["type"] == "prometheus"
    [provider] = yaml.safe_load((grafana / "dashboards" / "hsray.yaml").read_text("utf-8"))["providers"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    assert (INFRA / "compose" / "../../dashboards/grafana").resolve() == BOARD.parent
    assert mounts["../../dashboards/grafana"] == provider["options"]["path"]
    assert mounts["./grafana"] == "/etc/grafana/provisioning"


def test_the_tools_are_there() -> None:
    """A check whose tool is missing must not pass for one that found nothing."""
    assert shutil.which("promtool"), "install it: apt-get install prometheus"
