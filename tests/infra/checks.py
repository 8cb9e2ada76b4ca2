"""Checks of the files in infra/ and dashboards/: each takes a path and returns its problems, none if all is well."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
BOARD = ROOT / "dashboards" / "grafana" / "hsray.json"
HERE = Path(__file__).parent
KUBERNETES = "1.37"


def run(*command: str | Path, **env: str) -> list[str]:
    """Problems = what a tool prints when it fails."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env={**os.environ, **env}, timeout=120
    )
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).strip() or f"exit code {done.returncode}"]


def tool(name: str) -> Path:
    """A command of the environment that the tests run in."""
    return Path(sys.executable).parent / name


def script(path: Path) -> list[str]:
    """A shell script: it can be parsed, and shellcheck has nothing to say, not even by the way."""
    return run("bash", "-n", path) + run(tool("shellcheck"), "--severity=style", "--shell", _shell(path), path)


def dockerfile(path: Path) -> list[str]:
    return run(tool("hadolint"), "--failure-threshold", "info", path)


def compose(path: Path, **env: str) -> list[str]:
    """Docker Compose's own reading of the file: its schema, its references, its required variables."""
    package = importlib.util.find_spec("compose")
    assert package is not None and package.origin is not None
    binary = Path(package.origin).with_name("docker-compose")
    variables = env or {name: "x" * 20 for name in required_variables()}
    common = ["--project-directory", str(INFRA / "compose"), "--profile", "monitoring", "config", "--quiet"]
    return run(binary, "--env-file", os.devnull, "--file", path, *common, **variables)


def required_variables() -> list[str]:
    lines = (INFRA / "compose" / ".env.example").read_text("utf-8").splitlines()
    return [line.partition("=")[0] for line in lines if line and not line.startswith("#")]


def prometheus(path: Path) -> list[str]:
    return run("promtool", "check", "config", "--syntax-only", path)


def ray_cluster(path: Path) -> list[str]:
    """Ray's own validation, with its defaults filled in as `ray up` does."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(path.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as home:  # Ray keeps notes on clusters of one's own machines
        before, os.environ["HOME"] = os.environ.get("HOME"), home
        try:
            validate_config(prepare_config(config))
        except (jsonschema.ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
            return [str(error)]
        finally:
            os.environ["HOME"] = before or home
    return []


def manifests(path: Path) -> list[str]:
    """Kubernetes' own objects against its schemas; KubeRay's against ours, and the pods in them against Kubernetes'."""
    found = []
    for document in yaml.safe_load_all(path.read_text("utf-8")):
        if document.get("apiVersion", "").startswith("ray.io/"):
            schema = json.loads((HERE / "kuberay.schema.json").read_text("utf-8"))
            found += _against(document, schema)
            found += [problem for pod in _pods(document) for problem in _kubernetes(pod)]
        else:
            found += _kubernetes(document)
    return found


def board(path: Path) -> list[str]:
    return _against(json.loads(path.read_text("utf-8")), json.loads((HERE / "grafana.schema.json").read_text("utf-8")))


def _against(document: Any, schema: dict[str, Any]) -> list[str]:
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def _kubernetes(document: dict[str, Any]) -> list[str]:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{document.get('kind')}: {'.'.join(map(str, error.path))}: {error.message}"]
    except (kubernetes_validate.SchemaNotFoundError, KeyError) as error:
        return [f"{document.get('kind')}: no such kind: {error}"]
    return []


def _pods(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every pod that KubeRay would make of it, as a manifest of its own."""
    spec = document.get("spec", {})
    cluster = spec.get("rayClusterSpec", spec)
    groups = [cluster.get("headGroupSpec", {}), *cluster.get("workerGroupSpecs", [])]
    templates = [group.get("template", {}) for group in groups]
    if "submitterPodTemplate" in spec:
        templates.append(spec["submitterPodTemplate"])
    return [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template} for template in templates]


def _shell(path: Path) -> str:
    return "bash" if "bash" in path.read_text("utf-8").splitlines()[0] else "sh"
