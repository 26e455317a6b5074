"""One agent's search and the selection of its prompt."""

from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from rlprompt.agents.protocol import Agent, Problem
from rlprompt.core.archive import Entry
from rlprompt.core.errors import RLPromptError, SearchOver
from rlprompt.core.events import Event, OnEvent
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.core.result import PromptRecord
from rlprompt.objective.objective import Objective
from rlprompt.objective.racing import Racing
from rlprompt.objective.selection import Finalist, race
from rlprompt.run.config import as_json
from rlprompt.run.parts import Parts
from rlprompt.tasks.tokenization import prompt_text, retokenizes


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one agent did.

    Attributes:
        name: the agent's name.
        agent: the agent.
        finalists: of the selection, the winner first.
        search: ledger of the search.
        selection: ledger of the selection.
        trace: each improvement on train.
        ended: why the search ended.
    """

    name: str
    agent: Agent
    finalists: list[Finalist]
    search: Ledger
    selection: Ledger
    trace: list[Entry]
    ended: str

    @property
    def winner(self) -> Finalist:
        """The selected prompt."""
        return self.finalists[0]

    def best(self, count: int) -> list[Prompt]:
        """Returns the selected prompt and the next finalists, as many as there are."""
        return [finalist.prompt for finalist in self.finalists[:count]]

    def ledger(self) -> dict[str, float]:
        """Both ledgers together, as the result shows them."""
        both = (self.search, self.selection)
        return {
            "forwards": sum(part.forwards for part in both),
            "search_forwards": self.search.forwards,
            "selection_forwards": self.selection.forwards,
            "tokens": sum(part.tokens for part in both),
            "saved_tokens": sum(part.saved_tokens for part in both),
            "cache_hits": sum(part.cache_hits for part in both),
            "seconds": round(sum(part.seconds for part in both), 3),
        }


def search(parts: Parts, name: str, agent: Agent, on_event: OnEvent) -> Outcome:
    """Lets an agent spend its budget, then races the best of what it found.

    Raises:
        RLPromptError: the search ended before a single prompt was scored.
    """
    objective = Objective(
        parts.train,
        parts.lm.tokenizer,
        parts.reward,
        parts.plan.search,
        max_prompt_tokens=parts.question.max_prompt_tokens,
        racing=Racing() if parts.config.racing else None,
        fluency=parts.config.fluency,
        perplexity=parts.config.perplexity,
    )
    problem = Problem(objective, parts.vocabulary, parts.config.length, parts.lm)

    proposed, rewards = 0, 0.0

    def listen(event: Event) -> None:
        nonlocal proposed, rewards
        # What every agent's curve has, whether the agent tells of it or not.
        metrics = {"unique": float(objective.proposed)}
        if objective.asked > proposed:
            mean = (objective.asked_rewards - rewards) / (objective.asked - proposed)
            metrics["mean_reward"] = mean
        proposed, rewards = objective.asked, objective.asked_rewards
        on_event(replace(event, phase=f"search {name}", metrics=metrics | event.metrics))

    ended = "the agent ended its search by itself"
    try:
        agent.optimize(problem, seed=parts.config.seed, on_event=listen)
    except SearchOver as over:
        ended = str(over)
    if not len(objective.archive):
        raise RLPromptError(f"The agent {name!r} scored no prompt ({ended}).")
    listen(problem.event())
    ledger = Ledger()
    finalists = race(
        objective.archive,
        parts.train,
        parts.dev,
        parts.reward,
        parts.plan.race,
        ledger,
        objective.fluency,
    )
    best = finalists[0]
    on_event(
        Event(
            phase=f"selection {name}",
            forwards=ledger.forwards,
            total=parts.plan.race.cost,
            best_reward=best.reward,
            best_text=objective.text(best.prompt),
        )
    )
    return Outcome(name, agent, finalists, objective.ledger, ledger, objective.archive.trace, ended)


def settings_of(agent: object) -> dict[str, Any]:
    """Returns the settings of an agent or tuner as JSON values; live objects by their classes."""
    if not is_dataclass(agent):
        return {}
    return {
        f.name: as_json(value)
        for f in fields(agent)
        if (value := getattr(agent, f.name)) is not None and f.name != "log_folder"
    }


def record_of(parts: Parts, prompt: Prompt) -> PromptRecord:
    """Describes a prompt for the result."""
    tokenizer, template = parts.lm.tokenizer, parts.task.template
    return PromptRecord(
        ids=prompt.ids,
        text=prompt_text(tokenizer, template, prompt),
        tokens=tuple(tokenizer.decode([token]) for token in prompt.ids),
        retokenizes=all(
            retokenizes(tokenizer, template, prompt, example.fields) for example in parts.task.train
        ),
    )


def finalist_rows(parts: Parts, finalists: list[Finalist]) -> tuple[dict[str, Any], ...]:
    """Returns text, reward and, where it was read, fluency of every finalist, the winner first."""
    tokenizer, template = parts.lm.tokenizer, parts.task.template
    return tuple(
        {
            "text": prompt_text(tokenizer, template, finalist.prompt),
            "reward": finalist.reward,
            "train": parts.reward(finalist.train),
            "dev": parts.reward(finalist.dev),
        }
        | ({} if finalist.fluency is None else {"fluency": finalist.fluency})
        for finalist in finalists
    )


def trace_rows(parts: Parts, trace: list[Entry]) -> tuple[dict[str, Any], ...]:
    """Returns forwards, reward and text of every improvement."""
    tokenizer, template = parts.lm.tokenizer, parts.task.template
    return tuple(
        {
            "forwards": entry.found_at,
            "reward": entry.reward,
            "text": prompt_text(tokenizer, template, entry.prompt),
        }
        for entry in trace
    )


def lm_identity(parts: Parts) -> dict[str, str]:
    """Returns the LM's identity for the result."""
    return {**asdict(parts.lm.identity), "fingerprint": parts.lm.identity.fingerprint}
