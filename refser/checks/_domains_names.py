"""The names by which Keras knows its dtypes, and the classes of its initializers, regularizers and constraints.

Spec: spec/argument-values.md (AR-012, AR-015).  Observed: Keras 3.15.1.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DTYPES = _names(
    "bfloat16 bool complex128 complex64 float16 float32 float64 float8_e4m3fn float8_e5m2 int int16 int32 int64 int8 string"
    " uint16 uint32 uint64 uint8"
)
INITIALIZERS = _names(
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer Initializer LecunNormal LecunUniform"
    " Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling"
    " Zeros constant glorot_normal glorot_uniform he_normal he_uniform identity initializer lecun_normal lecun_uniform normal"
    " one ones orthogonal random_normal random_uniform stft truncated_normal uniform variance_scaling zero zeros"
)
REGULARIZERS = _names("L1 L1L2 L2 OrthogonalRegularizer Regularizer l1 l1l2 l2 orthogonal_regularizer regularizer")
CONSTRAINTS = _names("Constraint MaxNorm MinMaxNorm NonNeg UnitNorm constraint max_norm min_max_norm non_neg unit_norm")
