"""YAML, by the package PyYAML, which comes with transformers."""

from typing import Any

from rlprompt.tasks.optional import need


def to_yaml(value: Any) -> str:
    """Writes JSON values as YAML, in order, characters as they are.

    Raises:
        ConfigError: PyYAML is not installed.
    """
    yaml = need("yaml", "rlprompt[export]", "Writing YAML")
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000))
