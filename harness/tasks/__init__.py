"""What passes between processes: tasks, messages and results; where a run's files are."""

from harness.tasks.messages import Emit, EpochDone, Message, SharedResult, Stage
from harness.tasks.result import Evaluation, GalleryImage, LabelMaps, Result, State
from harness.tasks.task import Rendezvous, Task

__all__ = [
    "Emit",
    "EpochDone",
    "Evaluation",
    "GalleryImage",
    "LabelMaps",
    "Message",
    "Rendezvous",
    "Result",
    "SharedResult",
    "Stage",
    "State",
    "Task",
]
