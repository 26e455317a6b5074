"""Episodes that start from the best prompts so far, and rewards as a learner likes them."""

import math
from typing import Any, TypeAlias, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from rlprompt.agents.sb3.vec_env import PromptVecEnv
from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import IntArray
from rlprompt.core.prompt import Prompt
from rlprompt.envs.episodes import BoolArray
from rlprompt.envs.prior import log_prior

Observations: TypeAlias = NDArray[np.float32]
#: A position whose token is the policy's to choose.
FREE = -1


class Moments:
    """Running mean and standard deviation (Welford 1962)."""

    def __init__(self) -> None:
        """Knows nothing yet: mean 0, deviation 1."""
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        """Takes a value in."""
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self._squares += delta * (value - self.mean)

    def standardize(self, value: float) -> float:
        """Returns ``(value - mean) / deviation``."""
        deviation = math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else 1.0
        return (value - self.mean) / (deviation or 1.0)


class EliteEpisodes(VecEnvWrapper):
    """Lets some episodes start from an elite prompt, of which the policy replaces some tokens.

    A kept position admits one action only. Through the mask its probability is 1, so it adds
    nothing to gradient or entropy, and all credit goes to the tokens that were chosen. Half of the
    elite episodes keep tokens of two elites, position by position (crossover). At a free position
    the elite's own token is masked, so that a child differs from its parent.

    Observations have shape (N, length + 1): action indices of the prompt as far as it is settled,
    kept tokens to come included, -1 elsewhere; then the position to fill. With a prior they have
    one more number an action: how likely the frozen LM itself, behind a train example drawn for
    the episode, goes on with it. So the policy knows the LM's opinion and the LM stays outside.

    Rewards are standardized, those of elite episodes as the gain over the parent: a prompt's
    log-likelihood is near -0.6 and varies by hundredths, and a child of the best differs from a
    prompt from nowhere by more than one token matters. ``info`` has the raw reward.
    """

    def __init__(
        self,
        env: PromptVecEnv,
        *,
        length: int,
        prior: float = 0.0,
        share: float,
        elites: int,
        most_free: int,
        seed: int,
    ) -> None:
        """Wraps an environment.

        Args:
            env: whose objective's archive holds the elites.
            length: tokens of a prompt.
            prior: weight of the LM's log-probabilities in the observations; 0 for none of them.
            share: of episodes that start from an elite, in [0, 1].
            elites: how many of the best prompts count as elite.
            most_free: an elite episode leaves 1 to this many positions free.
            seed: of the choice of elites and positions.

        Raises:
            ConfigError: the environment shows a prior of its own.
        """
        if isinstance(env.observation_space, gym.spaces.Dict):
            raise ConfigError(
                "EliteEpisodes asks for the LM's prior itself: make the environment without "
                "prior=True and write EliteEpisodes(..., prior=1.0)."
            )
        self._objective = env.objective
        self._action_of = {token: a for a, token in enumerate(env.vocabulary.token_ids)}
        self._length = length
        self._prior = prior
        self._share = share
        self._elites = elites
        self._most_free = min(most_free, length)
        self._random = np.random.default_rng(seed)
        n = env.num_envs
        self._kept: IntArray = np.full((n, length), FREE, np.int64)
        self._old: IntArray = np.full((n, length), FREE, np.int64)
        self._parent: NDArray[np.float64] = np.full(n, np.nan)
        self._prefix: IntArray = np.full((n, length), FREE, np.int64)
        self._scratch, self._gains = Moments(), Moments()
        self._token_ids = env.vocabulary.token_ids
        self._example: IntArray = np.zeros(n, np.int64)
        assert isinstance(env.action_space, gym.spaces.Discrete)
        self._actions = int(env.action_space.n)
        most = max(len(env.vocabulary), length) - 1
        low = np.full(length + 1 + (self._actions if prior else 0), FREE, np.float32)
        high = np.full_like(low, most)
        low[length + 1 :], high[length + 1 :] = -np.inf, 0
        super().__init__(env, observation_space=gym.spaces.Box(low, high, dtype=np.float32))

    def reset(self) -> Observations:
        """Begins all episodes; returns observations (see the class)."""
        self._prefix = cast(IntArray, self.venv.reset())
        self._plan(np.ones(self.num_envs, np.bool_))
        return self._observe()

    def step_wait(self) -> VecEnvStepReturn:
        """Steps; plans the next episode where one ended."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._prefix = cast(IntArray, observations)
        scaled = np.zeros(len(rewards), np.float32)
        for i in np.flatnonzero(dones):
            scaled[i] = self._scaled(float(rewards[i]), float(self._parent[i]))
            last = np.zeros(self.observation_space.shape or (), np.float32)
            last[: self._length] = infos[i]["terminal_observation"]
            last[self._length] = self._length - 1
            infos[i]["terminal_observation"] = last
        self._plan(np.asarray(dones, np.bool_))
        return self._observe(), scaled, dones, infos

    def action_masks(self) -> BoolArray:
        """Returns which actions are valid, shape (N, V) or (N, V + 1)."""
        masks = cast(PromptVecEnv, self.venv).action_masks().copy()
        for i, step in enumerate(self._steps()):
            if self._kept[i, step] != FREE:
                masks[i] = False
                masks[i, self._kept[i, step]] = True
            elif self._old[i, step] != FREE and masks[i].sum() > 1:
                masks[i, self._old[i, step]] = False
        return masks

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **kwargs: Any,
    ) -> list[Any]:
        """Answers ``action_masks`` for each index, which is how MaskablePPO asks."""
        if method_name == "action_masks":
            masks = self.action_masks()
            return [masks[i] for i in self._get_indices(indices)]
        return self.venv.env_method(method_name, *method_args, indices=indices, **kwargs)

    def has_attr(self, attr_name: str) -> bool:
        """Whether this environment, or what it wraps, has an attribute."""
        return attr_name == "action_masks" or self.venv.has_attr(attr_name)

    def _steps(self) -> IntArray:
        filled: IntArray = (self._prefix != FREE).sum(axis=1)
        return np.minimum(filled, self._length - 1)

    def _observe(self) -> Observations:
        settled = np.where(self._prefix != FREE, self._prefix, self._kept)
        parts = [settled, self._steps()[:, None]]
        if self._prior:
            parts.append(self._prior * self._opinion())
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _opinion(self) -> NDArray[np.float64]:
        """Returns the LM's log-probability of every action; zeros where the token is kept."""
        opinion = np.zeros((self.num_envs, self._actions))
        asked = [i for i, step in enumerate(self._steps()) if self._kept[i, step] == FREE]
        if asked:
            prompts = [
                Prompt(tuple(self._token_ids[a] for a in self._prefix[i] if a != FREE))
                for i in asked
            ]
            rows = self._example[asked].tolist()
            opinion[asked] = log_prior(
                self._objective, rows, prompts, self._token_ids, self._actions
            )
        return opinion

    def _scaled(self, reward: float, parent: float) -> float:
        moments, value = (
            (self._scratch, reward) if math.isnan(parent) else (self._gains, reward - parent)
        )
        moments.add(value)
        return moments.standardize(value)

    def _plan(self, which: BoolArray) -> None:
        """Decides for each new episode where it starts from."""
        elites = self._best() if self._share and which.any() else []
        for i in np.flatnonzero(which):
            self._example[i] = self._random.integers(self._objective.n_examples)
            self._kept[i] = self._old[i] = FREE
            self._parent[i] = np.nan
            if len(elites) < self._elites or self._random.random() >= self._share:
                continue
            (one, reward), (other, _) = (
                elites[int(n)] for n in self._random.integers(0, len(elites), 2)
            )
            mixed = self._random.random() < 0.5
            take = (
                self._random.random(self._length) < 0.5 if mixed else np.zeros(self._length, bool)
            )
            child = np.where(take, other, one)
            free = self._random.permutation(self._length)[
                : self._random.integers(1, self._most_free + 1)
            ]
            self._kept[i] = child
            self._kept[i, free] = FREE
            self._old[i, free] = child[free]
            self._parent[i] = reward

    def _best(self) -> list[tuple[IntArray, float]]:
        """Returns the best full-length prompts as actions, with their rewards."""
        found = []
        for entry in self._objective.archive.ranked():
            # With sizes of their own the same tokens stand elsewhere than an episode puts them.
            if (
                len(entry.prompt) == self._length
                and not entry.prompt.sizes
                and all(token in self._action_of for token in entry.prompt.ids)
            ):
                actions = [self._action_of[token] for token in entry.prompt.ids]
                found.append((np.asarray(actions, np.int64), entry.reward))
                if len(found) == self._elites:
                    break
        return found
