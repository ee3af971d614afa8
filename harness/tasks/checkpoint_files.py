"""What the weights that a run keeps are called among its files."""

from __future__ import annotations

# The folder of them.
CHECKPOINTS = "checkpoints"
# Those of the best epoch, where the selection asks for it, and of the last one.
BEST, LAST = "best.pt", "last.pt"
# Those after a number of epochs, where the recipe keeps them.
EPOCH, EPOCHS = "epoch-{:04}.pt", "epoch-*.pt"
