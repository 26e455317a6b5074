"""What a comparison is made of: one method on one split, with what it did on every test item."""

from dataclasses import dataclass

from rlprompt.core.evaluation import FloatArray


@dataclass(frozen=True)
class Setting:
    """Where and with what a method was tried.

    Attributes:
        task: name of the task.
        split_seed: seed of the few-shot draw.
        method: name of the method ('ppo', 'genetic+racing', 'manual').
        seed: of the agent.
        budget: LM forwards it was allowed, search and selection; 0 for a fixed prompt.
    """

    task: str
    split_seed: int
    method: str
    seed: int = 0
    budget: int = 0


@dataclass(frozen=True)
class Tuning:
    """What sets a tuned method apart from a text prompt.

    Attributes:
        n_parameters: how many numbers were trained.
        n_bytes: bytes on disk of what has to be kept.
        gradients: whether the LM's gradients were needed.
        readable: whether a person can read what was learned.
        other_lms: whether what was learned can be used with another LM.
    """

    n_parameters: int
    n_bytes: int
    gradients: bool
    readable: bool
    other_lms: bool


@dataclass(frozen=True, eq=False)
class Trial:
    """What came of it, on items of the test split that are the same for all methods of a split.

    Attributes:
        setting: where and with what.
        prompt: text of the selected prompt, or what was tuned in a few words.
        correct: 1.0 where the calibrated prediction is right, else 0.0, shape (n_test,).
        log_likelihood: calibrated log-probability of the right label, nats, shape (n_test,).
        test_hash: hash of the test split; equal hashes mean the same items in the same order.
        dev_accuracy: calibrated, in [0, 1].
        dev_log_likelihood: calibrated, nats.
        train_reward: of the selected prompt.
        forwards: LM forwards charged, search and selection, and twice the backwards; 0 for a fixed
            prompt.
        seconds: inside the LM for these forwards, whoever ran them; of a tuner, all it took.
        trace: (LM forwards, best train reward so far) at each improvement; empty for fixed prompts
            and for tuners, which look at dev.
        tuning: of a tuned method; None for a text prompt.
        ensemble: texts of the prompts that are averaged, the selected one first; empty where it
            stands alone.
    """

    setting: Setting
    prompt: str
    correct: FloatArray
    log_likelihood: FloatArray
    test_hash: str
    dev_accuracy: float
    dev_log_likelihood: float
    train_reward: float
    forwards: int = 0
    seconds: float = 0.0
    trace: tuple[tuple[int, float], ...] = ()
    tuning: Tuning | None = None
    ensemble: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A method that ended in an error.

    Attributes:
        setting: where and with what.
        error: one line for the user.
    """

    setting: Setting
    error: str
