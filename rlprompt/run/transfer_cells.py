"""The prompts of finished runs on one LM."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from rlprompt.core.evaluation import Evaluation, correct, gold_logprobs
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import PromptRecord, SplitScores
from rlprompt.core.statistics import bootstrap_mean
from rlprompt.lm.adapting import adapted
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.objective.split_scorer import parts as cut
from rlprompt.run.final import BLOCK, evaluation_on
from rlprompt.run.transfer_sources import Group
from rlprompt.run.transfer_table import Cell, Difference, Row
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of, prompt_text, retokenizes


class Asked:
    """The prompts of one group on one LM."""

    def __init__(
        self,
        lm: FrozenLM,
        group: Group,
        log: EvaluationLog,
        ledger: Ledger,
        tell: Callable[[], None],
    ) -> None:
        """Writes template and prompts for the LM; nothing is scored yet.

        Args:
            lm: the LM.
            group: the prompts, and what they are asked.
            log: where scores come from and go to.
            ledger: counts what they cost.
            tell: called after each prompt on each block of examples.

        Raises:
            TemplateError: the template does not suit the LM.
        """
        self._lm = lm
        self._group = group
        self._ledger = ledger
        self._tell = tell
        template = adapted(lm, group.task.template)
        self._template: Template = template
        self._prompts = {text: prompt_of(lm.tokenizer, template, text) for text in group.texts}
        manual = [prompt_of(lm.tokenizer, template, text) for text in group.task.manual_prompts]
        # As in the run itself, where no other run's prompt is longer: texts are cut alike.
        longest = max([group.length, *map(len, self._prompts.values()), *map(len, manual)])
        question = Question(template, group.task.verbalizer, longest)
        self._train = SplitScorer(lm, question, group.task.train, log)
        self._test = [SplitScorer(lm, question, block, log) for block in cut(group.test, BLOCK)]

    def score(self) -> None:
        """Scores every prompt on train and test, one by one, as a run does at its end.

        Raises:
            RLPromptError: the LM refuses template, label words or the length of a prompt.
        """
        for scorer in (self._train, *self._test):
            for prompt in dict.fromkeys(self._prompts.values()):
                scorer.logprobs([prompt], self._ledger)
                self._ledger.forwards += scorer.n_examples
                self._tell()
            scorer.release()

    def cells(self, rows: Sequence[Row]) -> dict[str, Cell]:
        """Returns the cells of the rows that belong to the group."""
        tests = {
            row.name: evaluation_on(self._test, [self._prompts[row.text]], self._train)
            for row in rows
        }
        found = {}
        for row in rows:
            differences = {
                kind: difference(tests[row.name], tests[name]) for kind, name in row.against.items()
            }
            cell = self._cell(row.text, tests[row.name])
            found[row.name] = replace(cell, differences=differences)
        return found

    def _cell(self, text: str, test: Evaluation) -> Cell:
        labels = self._group.task.labels
        record = self._record(self._prompts[text])
        return Cell(
            template=asdict(self._template),
            prompt=record,
            survives=record.text == text,
            calibration=dict(zip(labels, map(float, test.bias), strict=True)),
            train=SplitScores.of(evaluation_on([self._train], [self._prompts[text]], self._train)),
            test=SplitScores.of(test, intervals=True),
            truncated={
                "train": self._train.truncated,
                "test": sum(scorer.truncated for scorer in self._test),
            },
        )

    def _record(self, prompt: Prompt) -> PromptRecord:
        tokenizer, template = self._lm.tokenizer, self._template
        return PromptRecord(
            ids=prompt.ids,
            text=prompt_text(tokenizer, template, prompt),
            tokens=tuple(tokenizer.decode([token]) for token in prompt.ids),
            retokenizes=all(
                retokenizes(tokenizer, template, prompt, example.fields)
                for example in self._group.task.train
            ),
        )


def difference(one: Evaluation, other: Evaluation) -> Difference:
    """Compares two prompts on the same examples."""
    hits, likelihoods = (
        measure(one.calibrated, one.gold) - measure(other.calibrated, other.gold)
        for measure in (correct, gold_logprobs)
    )
    return Difference(bootstrap_mean(hits), bootstrap_mean(likelihoods))
