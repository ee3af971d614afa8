"""What the template process imports, so that its children start with everything loaded."""

import torch
import torch._dynamo
import torch.optim

import harness.models.deeplab
import harness.models.fcn
import harness.models.unet
import harness.unit  # noqa: F401

# The pool of a template must not be copied into its children half-started.
torch.set_num_threads(1)
