"""A network of sinabs that `neurodeploy export` refuses; docs/howto-export-sinabs.md shows what it says of it."""

import sinabs.layers as sl
from sinabs.activation import MembraneReset
from torch import nn

resets = nn.Sequential(nn.Linear(64, 10), sl.IAFSqueeze(batch_size=4, reset_fn=MembraneReset(reset_value=-0.5)))
