"""Rewards as the learner sees them: mean 0 and standard deviation 1 over what was scored so far."""

import math

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn


class StandardizedReward(VecEnvWrapper):
    """Standardizes the return of each episode by the returns of all episodes so far.

    A prompt's log-likelihood is near -0.6 and varies by hundredths: unscaled, the value function
    would spend the run on learning the mean. SB3's ``VecNormalize`` divides without centring, which
    does not help here. The mean is taken off where an episode ends, so dense gains keep their sum.
    Whoever watches the environment underneath, or ``info``, sees raw rewards.
    """

    def __init__(self, venv: VecEnv) -> None:
        """Wraps an environment."""
        super().__init__(venv)
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._returns = np.zeros(venv.num_envs)

    def reset(self) -> VecEnvObs:
        """Resets the environment; what is known of returns stays."""
        self._returns[:] = 0
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Steps, takes in finished episodes, then scales this step's rewards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._returns += rewards
        for value in self._returns[dones]:
            # Welford's running mean and sum of squared deviations.
            self._count += 1
            delta = float(value) - self._mean
            self._mean += delta / self._count
            self._squares += delta * (float(value) - self._mean)
        self._returns[dones] = 0
        deviation = math.sqrt(self._squares / max(1, self._count - 1)) or 1.0
        scaled = (rewards - np.where(dones, self._mean, 0.0)) / deviation
        return observations, scaled.astype(np.float32), dones, infos
