"""What ``explanation.json`` holds: frozen, versioned, never a pickle.

Probabilities and log-likelihoods (nats) are calibrated on train unless a name says otherwise.
Differences are paired over examples, with 95 % bootstrap intervals.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlprompt.core.errors import RunError
from rlprompt.core.files import write_json
from rlprompt.core.result import PromptRecord
from rlprompt.core.statistics import Estimate
from rlprompt.explain.decoding import decoded
from rlprompt.run.transfer_table import Difference

SCHEMA = 1
#: Stands in the folder of the run.
EXPLANATION = "explanation.json"


@dataclass(frozen=True)
class Variant:
    """A prompt beside the learned one, on train and dev together.

    Attributes:
        text: exact text for the template's slots.
        tokens: text of each token.
        accuracy: in [0, 1].
        log_likelihood: mean log-probability of the right label.
        calibration: bias of each label, fitted on train.
        versus: this prompt less the learned one; below 0 where the learned one is better.
        paid: LM forwards that its scores took; 0 where all were in the run's evaluation log.
    """

    text: str
    tokens: tuple[str, ...]
    accuracy: float
    log_likelihood: float
    calibration: dict[str, float]
    versus: Difference
    paid: int

    @property
    def keeps(self) -> bool:
        """Whether it is not told to be worse than the learned prompt: 0 is not above it."""
        return self.versus.log_likelihood.high >= 0


@dataclass(frozen=True)
class Swap:
    """A token replaced by a word that is near to it.

    Attributes:
        by: text of the word in its place.
        similarity: cosine of the LM's input embeddings of the two, centred, in [-1, 1].
        variant: the prompt with it.
    """

    by: str
    similarity: float
    variant: Variant


@dataclass(frozen=True)
class TokenEffect:
    """What one token of the learned prompt does. None stands where a prompt was not scored.

    Attributes:
        position: 0 is the first token, all slots together.
        slot: the template's slot that it stands in, 0 is the first.
        token: its text, the space before it included.
        id: its token id.
        left_out: the prompt without it.
        alone: it alone, in its place.
        prefix: the prompt up to it.
        adds: that prefix less the one before it: what the token adds to those left of it.
        share: its Shapley value, in nats: what it adds to a subset of the other tokens, on average;
            the shares of all tokens sum to learned less empty.
        swaps: nearest words in its place, the nearest first.
    """

    position: int
    slot: int
    token: str
    id: int
    left_out: Variant | None
    alone: Variant | None
    prefix: Variant | None
    adds: Difference | None
    share: Estimate | None
    swaps: tuple[Swap, ...]

    @property
    def matters(self) -> bool:
        """Whether the prompt without it is told to be worse."""
        return self.left_out is not None and not self.left_out.keeps


@dataclass(frozen=True)
class Orders:
    """The same tokens in other orders.

    Attributes:
        possible: distinct orders, that of the learned prompt included.
        variants: those that were scored, but the learned one, best log-likelihood first.
        seed: of the sample, where there are more orders than were asked for; None for all orders.
    """

    possible: int
    variants: tuple[Variant, ...]
    seed: int | None

    @property
    def rank(self) -> int:
        """Place of the learned order among those scored, by log-likelihood; 1 is the best."""
        return 1 + sum(each.versus.log_likelihood.value > 0 for each in self.variants)


@dataclass(frozen=True)
class Reworded:
    """The learned prompt asked in another way: another template, or another label word.

    Attributes:
        name: what was changed, e.g. 'prompt before the input', or ``positive: great``.
        template: source and answer_prefix.
        verbalizer: words of each label.
        learned: scores of the learned prompt, compared with its own in the run's way.
        manual: the same of the manual prompt, compared with the *manual* one in the run's way;
            None where there is none.
        margin: learned less manual, both asked in the new way.
    """

    name: str
    template: dict[str, str]
    verbalizer: dict[str, list[str]]
    learned: Variant
    manual: Variant | None
    margin: Difference | None


@dataclass(frozen=True)
class Bin:
    """Test examples whose likeliest label has about the same probability.

    Attributes:
        low: least probability.
        high: greatest probability.
        count: examples.
        confidence: mean probability of their likeliest labels; 0 where there are none.
        accuracy: share of them that are right; 0 where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """A calibration curve.

    Attributes:
        bins: of equal width, from 0 to 1.
        ece: expected calibration error: mean of abs(accuracy - confidence) over examples.
    """

    bins: tuple[Bin, ...]
    ece: float


@dataclass(frozen=True)
class OnTest:
    """One prompt on test.

    Attributes:
        text: exact text for the template's slots.
        confusion: examples by right label (rows) and likeliest label (columns), in the order of
            the labels.
        confusion_uncalibrated: the same from the LM's own probabilities.
        reliability: of the calibrated probabilities.
        reliability_uncalibrated: of the LM's own.
    """

    text: str
    confusion: tuple[tuple[int, ...], ...]
    confusion_uncalibrated: tuple[tuple[int, ...], ...]
    reliability: Reliability
    reliability_uncalibrated: Reliability


@dataclass(frozen=True)
class Case:
    """A test example on which two prompts differ.

    Attributes:
        index: its place in the test split.
        fields: text of each input field.
        label: the right label.
        gain: log-probability of the right label under the learned prompt less the manual one.
        learned: probability of each label under the learned prompt.
        manual: the same under the manual one.
    """

    index: int
    fields: dict[str, str]
    label: str
    gain: float
    learned: dict[str, float]
    manual: dict[str, float]


@dataclass(frozen=True)
class Duel:
    """The learned prompt against the manual one on test.

    Attributes:
        margin: learned less manual.
        both: examples that both get right.
        only_learned: that only the learned one gets right.
        only_manual: that only the manual one gets right.
        neither: that neither does.
        wins: where the learned one gains most, the greatest gain first.
        losses: where it loses most, the greatest loss first.
    """

    margin: Difference
    both: int
    only_learned: int
    only_manual: int
    neither: int
    wins: tuple[Case, ...]
    losses: tuple[Case, ...]


@dataclass(frozen=True)
class HeldOut:
    """What the settled prompts did on test, where nothing is chosen.

    Attributes:
        scored: examples.
        opened: why test was opened again.
        paid: LM forwards that it took; 0 where all scores were in the run's evaluation log.
        prompts: 'learned', 'empty' and, where there is one, 'manual'.
        duel: learned against manual; None without a manual prompt.
    """

    scored: int
    opened: str
    paid: int
    prompts: dict[str, OnTest]
    duel: Duel | None


@dataclass(frozen=True)
class Explanation:
    """Why a learned prompt works.

    Attributes:
        prompt: the learned prompt.
        labels: in the order that confusion matrices have.
        base: 'learned', 'empty' and, where there is one, 'manual', on train and dev.
        tokens: in the order of the prompt; none for the empty prompt.
        orders: the same tokens in other orders; None for fewer than two distinct tokens.
        templates: the same prompt in other templates.
        label_words: the same prompt with other label words.
        test: on test; None where that was left out.
        left_out: what is missing and why, one sentence each.
        task: name, version, language.
        lm: identity of the frozen LM and its fingerprint.
        template: source and answer_prefix.
        verbalizer: words of each label.
        splits: hash and size of train, dev and test.
        settings: budget, seed and how much of each kind was asked for.
        ledger: of what was asked for 'forwards' (paid), 'free' (forwards whose scores were in the
            run's evaluation log), 'tokens' and 'seconds' of those paid, 'wanted' (forwards that
            everything would have taken with no limit).
        versions: of the packages that matter.
    """

    prompt: PromptRecord
    labels: tuple[str, ...]
    base: dict[str, Variant]
    tokens: tuple[TokenEffect, ...]
    orders: Orders | None
    templates: tuple[Reworded, ...]
    label_words: tuple[Reworded, ...]
    test: HeldOut | None
    left_out: tuple[str, ...]
    task: dict[str, Any]
    lm: dict[str, str]
    template: dict[str, str]
    verbalizer: dict[str, list[str]]
    splits: dict[str, dict[str, Any]]
    settings: dict[str, Any]
    ledger: dict[str, Any]
    versions: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Returns what ``explanation.json`` holds."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: Any) -> "Explanation":
        """Reads what :meth:`to_json` gives.

        Raises:
            RunError: another schema, or a part is missing.
        """
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise RunError(f"This is no explanation of schema {SCHEMA}: run explain again.")
        try:
            return decoded(cls, {k: v for k, v in value.items() if k != "schema"})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"The explanation is damaged ({error!r}): run explain again.") from error


def save(folder: Path, found: Explanation) -> None:
    """Writes ``explanation.json`` into the folder of a run."""
    write_json(folder / EXPLANATION, found.to_json())


def load(folder: Path) -> Explanation:
    """Reads ``explanation.json`` from the folder of a run.

    Raises:
        RunError: it is missing, unreadable or of another schema.
    """
    path = folder / EXPLANATION
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"No explanation at {path}: rlprompt explain {folder} writes it.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}.") from error
    return Explanation.from_json(value)
