"""What single words do, as data, in sentences and as a Markdown table."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SCHEMA = 1
#: Words with a smaller family-wise p are marked.
ALPHA = 0.05


@dataclass(frozen=True)
class Effect:
    """What a word does beside the empty prompt on one split.

    Attributes:
        value: the word's reward less the empty prompt's.
        low: lower end of its 95 % interval, of what ``WordEffects.interval_of`` says.
        high: upper end.
        accuracy: change of the calibrated accuracy, in [-1, 1].
    """

    value: float
    low: float
    high: float
    accuracy: float


@dataclass(frozen=True)
class WordEffect:
    """One word.

    Attributes:
        rank: 1 is the greatest effect on train.
        text: exact text for the template's slot.
        token_id: its token.
        train: effect on train.
        p: family-wise, two-sided, in (0, 1]: how often the most striking of all words would be as
            striking as this one if none did anything.
        shift: by label, the change in nats of its mean uncalibrated log-probability.
        dev: effect on dev, which had no part in the rank; None where not scored.
    """

    rank: int
    text: str
    token_id: int
    train: Effect
    p: float
    shift: dict[str, float]
    dev: Effect | None = None

    @property
    def significant(self) -> bool:
        """Whether the effect stands out even though it is one of many."""
        return self.p <= ALPHA

    @property
    def leaning(self) -> tuple[str, float]:
        """The label that the word favours, and by how much in nats over the mean of all labels.

        That is how far the label's calibration constant moves.
        """
        label = max(self.shift, key=lambda name: self.shift[name])
        return label, self.shift[label] - sum(self.shift.values()) / len(self.shift)


@dataclass(frozen=True)
class WordEffects:
    """What every word does.

    Attributes:
        rows: all words, the greatest effect on train first.
        empty: of the empty prompt, by split: reward, accuracy and log_likelihood, calibrated.
        reward: name of the reward.
        interval_of: what intervals and p are of: the reward where it is a mean over examples, as
            all rewards of the package are; else 'calibrated_log_likelihood'.
        task: name, version, labels and language.
        lm: identity of the frozen LM and its fingerprint.
        template: source and answer_prefix.
        verbalizer: words of each label.
        vocabulary: size, language and what each filter removed.
        splits: hash and size of train and dev.
        ledger: forwards, tokens and seconds.
        config: the settings that decide all this.
        versions: of the packages that matter.
    """

    rows: tuple[WordEffect, ...]
    empty: dict[str, dict[str, float]]
    reward: str
    interval_of: str
    task: dict[str, Any]
    lm: dict[str, str]
    template: dict[str, str]
    verbalizer: dict[str, list[str]]
    vocabulary: dict[str, Any]
    splits: dict[str, dict[str, Any]]
    ledger: dict[str, float]
    config: dict[str, Any]
    versions: dict[str, str]

    @property
    def significant(self) -> tuple[WordEffect, ...]:
        """The words whose effect stands out, best first."""
        return tuple(row for row in self.rows if row.significant)

    def ends(self, top: int) -> tuple[tuple[WordEffect, ...], tuple[WordEffect, ...]]:
        """Returns the best words and the worst ones, each word at most once, in order of rank."""
        return self.rows[:top], self.rows[max(top, len(self.rows) - top) :]

    def to_json(self) -> dict[str, Any]:
        """Returns what ``words.json`` holds."""
        return {"schema": SCHEMA, **asdict(self)}


def summary(found: WordEffects, top: int) -> list[str]:
    """Returns what is to be said beside the table, one sentence each.

    Args:
        found: all words.
        top: words at each end of the table.
    """
    marked = found.significant
    up = sum(row.train.value > 0 for row in marked)
    train, dev = found.empty["train"], found.empty["dev"]
    best, worst = found.ends(top)
    middle = float(np.median([row.train.value for row in found.rows]))
    sentences = [
        f"The empty prompt: reward {train['reward']:.3f} and accuracy {train['accuracy']:.3f} on "
        f"train, {dev['reward']:.3f} and {dev['accuracy']:.3f} on dev. The median word: "
        f"{middle:+.3f} on train.",
        f"Significant among {len(found.rows):,} words (*: family-wise p at most {ALPHA}): "
        f"{up:,} for the better, {len(marked) - up:,} for the worse.",
    ]
    picked = [
        f"the {len(rows)} {name} {_mean(rows, 'train'):+.3f} there and {_mean(rows, 'dev'):+.3f} "
        "on dev"
        for name, rows in (("best", best), ("worst", worst))
        if rows
    ]
    sentences.append(f"Picked on train, on average: {'; '.join(picked)}.")
    if found.interval_of != found.reward:
        sentences.append(
            f"Intervals and marks are those of the {found.interval_of}: the reward "
            f"{found.reward} is no mean over examples."
        )
    return sentences


def _mean(rows: tuple[WordEffect, ...], split: str) -> float:
    effects: list[Effect | None] = [getattr(row, split) for row in rows]
    return float(np.mean([effect.value for effect in effects if effect is not None]))


def markdown(found: WordEffects, top: int) -> str:
    """Returns the words at both ends as a Markdown table.

    Args:
        found: all words.
        top: words at each end.
    """
    n = found.splits["train"]["size"]
    lines = [
        f"# What {len(found.rows):,} single words do",
        "",
        f"Task {found.task['name']}, LM `{found.lm['name']}`, {n} train examples. The effect of a "
        f"word is the reward ({found.reward}) with the word alone as the prompt, less the empty "
        "prompt's; with 95 % bootstrap interval over examples.",
        "",
        *("* " + sentence.replace("(*:", "(\\*:") for sentence in summary(found, top)),
        "",
        "| rank | word | effect on train | p, family-wise | accuracy | leans to | effect on dev |",
        "|---:|---|---:|---:|---:|---|---:|",
    ]
    best, worst = found.ends(top)
    hidden = len(found.rows) - len(best) - len(worst)
    lines += [_line(row) for row in best]
    if hidden:
        lines.append(f"| | *{hidden:,} more* | | | | | |")
    lines += [_line(row) for row in worst]
    return "\n".join(lines) + "\n"


def _line(row: WordEffect) -> str:
    label, by = row.leaning
    word = repr(row.text).replace("|", "\\|")
    cells = [
        str(row.rank),
        f"`{word}`",
        _cell(row.train) + (" \\*" if row.significant else ""),
        f"{row.p:.4f}",
        f"{row.train.accuracy:+.3f}",
        f"{label} {by:+.2f}".replace("|", "\\|"),
        "" if row.dev is None else _cell(row.dev),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(effect: Effect) -> str:
    return f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"
