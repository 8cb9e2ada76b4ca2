"""What `hsray dashboard` was told, handed to the pages through the environment of the server's process."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

VARIABLE = "HSRAY_DASHBOARD"


@dataclass(frozen=True)
class Settings:
    """Where the pages read from. `uri` is MLflow's address; `ray` that of Ray's dashboard, empty where not known.
    `sign_in`: nobody reads anything without."""

    mirror: str
    runs: str
    data: str
    uri: str
    ray: str = ""
    sign_in: bool = False

    def to_environment(self, *, sign_in: bool) -> dict[str, str]:
        """The variable that `settings` reads."""
        return {VARIABLE: json.dumps(asdict(replace(self, sign_in=sign_in)))}

    @property
    def mirror_folder(self) -> Path:
        return Path(self.mirror)

    @property
    def runs_folder(self) -> Path:
        return Path(self.runs)

    @property
    def data_folder(self) -> Path:
        return Path(self.data)


def settings() -> Settings:
    """The settings of this server."""
    return Settings(**json.loads(os.environ[VARIABLE]))
