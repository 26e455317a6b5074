"""Reads an export back in a process of its own and compares what came of it."""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rlprompt
from rlprompt.core.files import write_json
from rlprompt.export.protocol import Exporter, ExportError, Fields, Reading

#: Greatest difference of a label log-probability that rounding explains; half precision has a
#: thousandth of float32's digits.
TOLERANCES = {"float32": 1e-4, "float64": 1e-4}
COARSE = 5e-2
#: Nothing is downloaded or sent for a check.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
    "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
    "PROMPTFOO_DISABLE_SHARING": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Check:
    """What a check found.

    Attributes:
        outcome: 'passed', 'failed' or 'unchecked'.
        by: name and version of what read the export; '' where nothing did.
        examples: how many inputs were compared.
        inputs: how many were rendered alike.
        ids: how many had the same token ids.
        difference: greatest difference of a calibrated label log-probability, nats.
        tolerance: what it may be.
        reason: why it failed or was not made.
    """

    outcome: str
    by: str = ""
    examples: int = 0
    inputs: int = 0
    ids: int = 0
    difference: float | None = None
    tolerance: float | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return asdict(self)


def compare(by: str, expected: Sequence[Reading], found: Sequence[Reading], dtype: str) -> Check:
    """Compares readings with this library's own, example by example."""
    tolerance = TOLERANCES.get(dtype, COARSE)
    if len(expected) != len(found):
        reason = f"{by} read {len(found)} of {len(expected)} examples"
        return Check("failed", by, len(expected), tolerance=tolerance, reason=reason)
    pairs = [*zip(expected, found, strict=True)]
    inputs = sum(one.text == other.text for one, other in pairs)
    ids = sum(one.ids == other.ids for one, other in pairs)
    reasons = []
    if inputs < len(pairs):
        one, other = next(each for each in pairs if each[0].text != each[1].text)
        reasons.append(f"the input is {other.text[-60:]!r}, not {one.text[-60:]!r}")
    if ids < len(pairs):
        one, other = next(each for each in pairs if each[0].ids != each[1].ids)
        reasons.append(f"its token ids end in {other.ids[-8:]}, not {one.ids[-8:]}")
    if any({*one.logprobs} != {*other.logprobs} for one, other in pairs):
        return Check("failed", by, len(pairs), inputs, ids, reason="other labels")
    gaps = [
        abs(one.logprobs[label] - other.logprobs[label])
        for one, other in pairs
        for label in one.logprobs
    ]
    # Python's max passes over what is not a number, which is no agreement.
    difference = max(gaps) if all(map(math.isfinite, gaps)) else math.inf
    if difference > tolerance:
        reasons.append(f"label log-probabilities differ by up to {difference:.2g} nats")
    outcome = "failed" if reasons else "passed"
    finite = difference if math.isfinite(difference) else None
    return Check(outcome, by, len(pairs), inputs, ids, finite, tolerance, "; ".join(reasons))


def read_back(
    name: str,
    exporter: Exporter,
    path: Path,
    examples: Sequence[Fields],
    *,
    python: str | None = None,
    seconds: float,
    threads: int | None = None,
) -> tuple[str, list[Reading]]:
    """Reads an export through its target library, in a process of its own.

    Args:
        name: of the format.
        exporter: of the format.
        path: of the export.
        examples: fields of each.
        python: interpreter that has the target library; None for this one.
        seconds: time limit.
        threads: CPU threads; None for torch's choice.

    Returns:
        Name and version of the library, '' where it is missing, and a reading an example.

    Raises:
        ExportError: the process failed or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="rlprompt-check-") as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        value = {"format": name, "path": str(path.resolve()), "threads": threads}
        write_json(request, {**value, "examples": [dict(fields) for fields in examples]})
        root = str(Path(rlprompt.__file__).resolve().parents[1])
        # This library comes last, so that a target library's own packages win.
        code = (
            f"import sys; sys.path += {[root, str(Path.cwd())]!r}; "
            f"from rlprompt.export.child import main; main({str(request)!r}, {str(answer)!r})"
        )
        caches = {"DSPY_CACHEDIR": folder, "PROMPTFOO_CONFIG_DIR": folder}
        process = subprocess.Popen(
            [python or sys.executable, "-P", "-c", code],
            cwd=folder,
            env=os.environ | _OFFLINE | caches,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            raise ExportError(f"reading it back took over {seconds:.0f} s") from late
        finally:
            _end(process)
        if process.returncode:
            raise ExportError(_last_line(error) or f"exit code {process.returncode}")
        found = json.loads(answer.read_text(encoding="utf-8"))
    return found["library"], [
        Reading(each["text"], tuple(each["ids"]), each["logprobs"]) for each in found["readings"]
    ]


def _end(process: "subprocess.Popen[str]") -> None:
    """Ends a process that is still running, with all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
