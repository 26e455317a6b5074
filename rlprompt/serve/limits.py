"""How much one client may ask of the service."""

from dataclasses import dataclass

from rlprompt.core.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """What bounds time and memory of a request.

    Attributes:
        max_batch: texts that go to the LM together.
        max_wait_ms: how long a lone text waits for others, in milliseconds.
        max_texts: texts of a request.
        max_length: characters of a text, of all its fields together.
        max_body: bytes of a request's body.
        max_queue: texts that wait for the LM; beyond, clients are told to come again.
    """

    max_batch: int = 64
    max_wait_ms: float = 5.0
    max_texts: int = 256
    max_length: int = 10_000
    max_body: int = 1 << 20
    max_queue: int = 1024

    def __post_init__(self) -> None:
        """Refuses limits under which no request could be answered.

        Raises:
            ConfigError: with what to write instead.
        """
        for name in ("max_batch", "max_texts", "max_length", "max_body", "max_queue"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be 1 or more, not {getattr(self, name)}.")
        if not 0 <= self.max_wait_ms <= 10_000:
            raise ConfigError(
                f"max_wait_ms must be 0 to 10000 milliseconds, not {self.max_wait_ms:g}."
            )
        if self.max_queue < self.max_texts:
            raise ConfigError(
                f"max_queue is {self.max_queue} and max_texts {self.max_texts}: the queue must "
                "hold one whole request. Raise max_queue or lower max_texts."
            )
