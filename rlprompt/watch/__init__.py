"""Who looks on while a job runs: learning curve, TensorBoard, Weights & Biases, MLflow.

A watcher can neither stop a run nor change what comes out of it: what fails is told once and left
out from then on. Your own is a class with the methods of :class:`Watcher`; name it by import path,
``--watch my_module:MyWatcher``, or give an object, ``optimize(config, watch=[MyWatcher()])``.
"""

from rlprompt.watch.mlflow import MLflow
from rlprompt.watch.tensorboard import TensorBoard
from rlprompt.watch.wandb import WandB
from rlprompt.watch.watcher import Job, Point, Watcher

__all__ = ["Job", "MLflow", "Point", "TensorBoard", "WandB", "Watcher"]
