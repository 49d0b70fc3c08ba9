"""Dropout, noise and penalties.  None has variables: the seeds are no part of a file.

Keras: keras.layers.regularization.  Spec: spec/layers.md.
"""

from __future__ import annotations

from refser.rules.rule import Rule
from refser.rules.spatial import same

RULES = tuple(
    Rule(name, output=same)
    for name in (
        *("ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"),
        *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    )
)
