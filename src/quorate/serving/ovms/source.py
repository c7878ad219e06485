"""A configuration that was read from its file; see `Source`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from quorate.serving.ovms.config import Configuration
from quorate.serving.values import Limits

if TYPE_CHECKING:
    from quorate.serving.ovms.served import ServedConfiguration


@dataclass(frozen=True)
class ConfigurationSource:
    """It is known by its file, and loaded as a whole."""

    said: Configuration

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """Read a file; raises as `Configuration.from_json`."""
        return cls(Configuration.from_json(path))

    @property
    def name(self) -> str:
        """The file."""
        return self.said.origin

    @property
    def models(self) -> Sequence[str]:
        """The models, then the pipelines that no model has the name of."""
        return [*dict.fromkeys(self.said.names)]

    @property
    def files(self) -> Sequence[str]:
        """The file, and the local folders and files of models: a new version changes its folder."""
        paths = [Path(one.config.base_path or "") for one in self.said.model_config_list]
        below = [str(file) for path in paths for file in sorted(path.glob("*/*"))]
        return [self.said.origin, *map(str, paths), *below]

    def anew(self) -> Self:
        """The same as its file says now."""
        return type(self).of(self.said.origin)

    def load(self, limits: Limits) -> ServedConfiguration:
        """What answers; raises as `ServedConfiguration`."""
        from quorate.serving.ovms.served import ServedConfiguration

        return ServedConfiguration(self.said, limits)
