"""Libraries and programs that read exports, looked for without importing them."""

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class PythonLibrary:
    """A distribution of Python packages.

    Attributes:
        name: of the distribution.
        install: the line that installs it.
    """

    name: str
    install: str

    def version(self) -> str:
        """See :meth:`rlprompt.export.protocol.Target.version`."""
        try:
            return f"{self.name} {version(self.name)}"
        except PackageNotFoundError:
            return ""


@dataclass(frozen=True)
class Program:
    """A command on the path.

    Attributes:
        name: of the command.
        install: the line that installs it.
    """

    name: str
    install: str

    @property
    def path(self) -> str:
        """Where it is, or ''."""
        return shutil.which(self.name) or ""

    def version(self) -> str:
        """See :meth:`rlprompt.export.protocol.Target.version`."""
        return self.name if self.path else ""


TRANSFORMERS = PythonLibrary("transformers", "pip install 'rlprompt[hf]'")
