import pytest

from rlprompt.core.ledger import Budget
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards.functions import calibrated_log_likelihood
from rlprompt.testing import PlantedLM, planted_task

LENGTH = 4
N_EXAMPLES = 6


def build(
    lm=None,
    *,
    prompts=10,
    log=None,
    reward=calibrated_log_likelihood,
    max_prompt_tokens=LENGTH,
    **settings,
):
    """Makes an objective over six examples whose budget covers so many prompts."""
    lm = lm or PlantedLM(8, LENGTH)
    task = planted_task(N_EXAMPLES, 2, 2)
    question = Question(task.template, task.verbalizer, max_prompt_tokens)
    scorer = SplitScorer(lm, question, task.train, EvaluationLog() if log is None else log)
    return Objective(
        scorer,
        lm.tokenizer,
        reward,
        Budget(int(prompts * N_EXAMPLES)),
        max_prompt_tokens=max_prompt_tokens,
        **settings,
    )


@pytest.fixture(scope="session")
def objective():
    """Gives the maker of objectives."""
    return build
