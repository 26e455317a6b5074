"""What goes over the wire."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rlprompt.serve.texts import Text


class Question(BaseModel):
    """Texts to label."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"task": "movie-reviews", "texts": ["I laughed twice."]}]},
    )

    task: Annotated[str, Field(description="Name of the task, one of GET /tasks.")]
    texts: Annotated[
        list[Text],
        Field(
            description="A string each, or a mapping from field to text where a task has several."
        ),
    ]


class Label(BaseModel):
    """What the LM answers for one text."""

    label: Annotated[str, Field(description="The likeliest label.")]
    probabilities: Annotated[
        dict[str, float], Field(description="Of each label, calibrated, summing to 1.")
    ]


class Answer(BaseModel):
    """Labels, in the order of the texts."""

    task: str
    predictions: list[Label]


class TaskInfo(BaseModel):
    """A task that texts can be labelled for."""

    name: str
    labels: list[str]
    fields: Annotated[list[str], Field(description="Input fields of a text.")]
    template: str
    prompt: Annotated[str, Field(description="The learned prompt.")]


class Health(BaseModel):
    """That the service answers."""

    status: str
    lm: str
    tasks: int
    queued: Annotated[int, Field(description="Texts that wait for the LM.")]


class Problem(BaseModel):
    """What is wrong, and what to send instead."""

    detail: str
