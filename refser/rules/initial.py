"""The values that variables start with, as the initializers in a config say; random ones are drawn from the same distributions.

Keras: keras.initializers, `build` of the classes.  Spec: spec/weight-trees.md (WT-030).  Not here: which arrays there are
(tree), arrays that are given (author).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from refser.config.objects import invalid
from refser.rules.einsum import analyze, reduced
from refser.rules.layer import Layer, Unknown
from refser.rules.rule import Var
from refser.rules.tree import WeightSpec, keys_of
from refser.rules.walk import Owner

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

# Variables whose argument is not their name and "_initializer".
_ARGUMENTS = {
    "depthwise_kernel": "depthwise_initializer",
    "moving_stddev": "moving_variance_initializer",
    "pointwise_kernel": "pointwise_initializer",
    "recurrent_kernel": "recurrent_initializer",
    "renorm_mean": "moving_mean_initializer",
    "renorm_stddev": "moving_variance_initializer",
    "reverse_embeddings": "embeddings_initializer",
}
_SQUARE_ROOTS = ("moving_stddev", "renorm_stddev")
_DEFAULTS: Mapping[str, Any] = {
    **dict.fromkeys(("bias", "beta", "moving_mean", "renorm_mean", "mean", "count", "alpha"), "zeros"),
    **dict.fromkeys(("gamma", "moving_variance", "moving_stddev", "renorm_stddev", "variance"), "ones"),
    **dict.fromkeys(("scale", "concat_score_weight"), "ones"),
    **dict.fromkeys(("kernel", "depthwise_kernel", "pointwise_kernel"), "glorot_uniform"),
    **dict.fromkeys(("embeddings", "reverse_embeddings"), "uniform"),
    "recurrent_kernel": "orthogonal",
    "vector_u": {"class_name": "TruncatedNormal", "config": {"stddev": 0.02}},
}
_OF_CLASS = {("AdditiveAttention", "scale"): "glorot_uniform"}
_PACKED = ("int8", "int4", "gptq", "awq")
# Scale, fan and distribution of the initializers that are VarianceScaling with fixed arguments.
_SCALED = {
    "glorotuniform": (1.0, "fan_avg", "uniform"),
    "glorotnormal": (1.0, "fan_avg", "truncated_normal"),
    "lecununiform": (1.0, "fan_in", "uniform"),
    "lecunnormal": (1.0, "fan_in", "truncated_normal"),
    "heuniform": (2.0, "fan_in", "uniform"),
    "henormal": (2.0, "fan_in", "truncated_normal"),
}
_TRUNCATED = 0.87962566103423978  # the standard deviation of a normal distribution that is cut at two of its own


class Made(NamedTuple):
    """A variable, whose it is, and what is around that."""

    var: Var
    owner: Owner
    above: Owner | None


def variables_of(root: Owner) -> dict[str, Made]:
    """The model's variables by inner path."""
    found: dict[str, Made] = {}
    todo: list[tuple[Owner, Owner | None]] = [(root, None)]
    while todo:
        owner, above = todo.pop()
        for key, (var, _) in zip(keys_of(owner), owner.variables):
            found[f"{owner.group}/{key}"] = Made(var, owner, above)
        todo.extend((child, owner) for child in owner.children)
    return found


class Initial:
    """Draws the value of each variable by its inner path, whatever was drawn before."""

    def __init__(self, made: Mapping[str, Made], seed: int) -> None:
        self._made, self._seed = made, seed

    def value(self, spec: WeightSpec, shape: tuple[int, ...]) -> Array:
        """Raises `Unknown` where the config does not tell, `InvalidError` for what is no initializer of Keras [LY-003]."""
        made = self._made.get(spec.path)
        if made is None or made.var.name is None:
            raise Unknown("no initial value is known for it")
        if made.var.of:
            made, path = self._copied(made)
        else:
            path = spec.path
        return self._drawn(made, path, shape)

    def _copied(self, made: Made) -> tuple[Made, str]:
        """The variable that is saved a second time."""
        for child in made.owner.children:
            if child.path.rpartition("/")[2] == made.var.of:
                for key, (var, _) in zip(keys_of(child), child.variables):
                    if var.name == made.var.name:
                        found = Made(var, child, made.owner)
                        return self._copied(found) if var.of else (found, f"{child.group}/{key}")
        raise Unknown("no initial value is known for it")

    def _drawn(self, made: Made, path: str, shape: tuple[int, ...]) -> Array:
        import numpy as np

        name, layer = made.var.name or "", made.owner.layer
        rng = np.random.default_rng([self._seed, zlib.crc32(path.encode("utf-8", "surrogatepass"))])
        if (fixed := _of_quantized(made, name, shape)) is not None:
            return fixed
        value, at = _initializer(made, name)
        if value is None:
            value = _OF_CLASS.get((layer.key, name), _DEFAULTS.get(name))
        if value is None:
            raise Unknown(f"what value {name} starts with")
        found = draw(value, shape, rng, at, fans=_fans_of(layer, name, shape))
        if name in _SQUARE_ROOTS:
            return np.sqrt(found)
        if name == "bias" and layer.key in ("LSTMCell", "ConvLSTMCell") and layer.flag("unit_forget_bias", True):
            quarter = shape[0] // 4
            found = np.array(found)
            found[quarter : 2 * quarter] = 1  # of the forget gate
        return found


def _of_quantized(made: Made, name: str, shape: tuple[int, ...]) -> Array | None:
    """What a quantized layer is built with; None for all else."""
    import numpy as np

    policy = made.owner.layer.policy
    if not policy.mode or name == "bias":
        return None
    if name.endswith(("_scale", "_scales")):
        return np.ones(shape, "f4")
    if name == "g_idx" and policy.mode == "int4":
        block = policy.block if policy.block > 0 else max(1, shape[0])
        return np.arange(shape[0], dtype="f4") // block
    if policy.mode in _PACKED and name in ("kernel", "embeddings", "reverse_embeddings"):
        return np.zeros(shape, "u1")
    return np.zeros(shape, "f4") if name.endswith(("_zero", "_amax_history")) or name == "g_idx" else None


def _initializer(made: Made, name: str) -> tuple[Any, str]:
    """What says how the variable starts, and its place; layers that others make have it from those."""
    own = f"{name}_initializer"
    arguments = [own, _ARGUMENTS.get(name, own)]
    if made.owner.layer.key.startswith("DepthwiseConv") and name == "kernel":
        arguments = ["depthwise_initializer"]
    layers = [made.owner.layer]
    if not layers[0].json and made.above is not None:
        layers.append(made.above.layer)
    for layer in layers:
        for argument in arguments:
            if layer.has(argument):
                return layer.config[argument], layer.at_argument(argument)
    return None, made.owner.layer.at


def _fans_of(layer: Layer, name: str, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """EinsumDense tells which axes of its kernel are its input's."""
    if layer.key != "EinsumDense" or name != "kernel":
        return None
    einsum = analyze(layer, layer.shape)
    sums = reduced(einsum)
    return math.prod(shape[axis] for axis in sums), math.prod(n for axis, n in enumerate(shape) if axis not in sums)


# Initializers


def draw(
    value: Any, shape: tuple[int, ...], rng: np.random.Generator, at: str, *, fans: tuple[int, int] | None = None
) -> Array:
    """What the initializer `value`, a name or an object, gives.  Raises `Unknown`, `InvalidError` [LY-003]."""
    config: Mapping[str, Any] = {}
    name = value
    if isinstance(value, Mapping):
        name, config = value.get("class_name"), value.get("config") or {}
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise invalid("LY-003", f"{value!r:.60} as an initializer; wanted a name or an object", at)
    name = name.replace("_", "").lower()
    if name in _SCALED:
        return _scaled(*_SCALED[name], shape, rng, fans or _fans(shape, config, at))
    make = _MAKE.get(name)
    if make is None:
        raise Unknown(f"what the initializer {value.get('class_name') if isinstance(value, Mapping) else value!r:.60} gives")
    found: Array = make(config, shape, rng, at, fans)
    return found


def _number(config: Mapping[str, Any], name: str, default: float, at: str) -> float:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e38:
        raise invalid("LY-003", f"{value!r:.60} as {name} of an initializer; wanted a number", f"{at}.config.{name}")
    return float(value)


def _fans(shape: tuple[int, ...], config: Mapping[str, Any], at: str) -> tuple[int, int]:
    axes = config.get("input_axes"), config.get("output_axes")
    if axes[0] is not None and axes[1] is not None:
        found = [_product(shape, value, at) for value in axes]
        return found[0], found[1]
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _product(shape: tuple[int, ...], axes: Any, at: str) -> int:
    if not isinstance(axes, (list, tuple)) or not all(type(n) is int and -len(shape) <= n < len(shape) for n in axes):
        raise invalid("LY-003", f"{axes!r:.60} as axes of an initializer; wanted numbers of axes", f"{at}.config")
    return math.prod(shape[axis] for axis in axes)


def _scaled(
    scale: float, mode: str, distribution: str, shape: tuple[int, ...], rng: np.random.Generator, fans: tuple[int, int]
) -> Array:
    fan = {"fan_in": fans[0], "fan_out": fans[1]}.get(mode, (fans[0] + fans[1]) / 2)
    scale /= max(1.0, fan)
    if distribution == "uniform":
        limit = math.sqrt(3 * scale)
        return _uniform(-limit, limit, shape, rng)
    if distribution == "untruncated_normal":
        return _normal(0, math.sqrt(scale), shape, rng)
    return _truncated(0, math.sqrt(scale) / _TRUNCATED, shape, rng)


def _uniform(low: float, high: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    import numpy as np

    found: Array = rng.random(shape, dtype=np.float32) * np.float32(high - low) + np.float32(low)
    return found


def _normal(mean: float, stddev: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    import numpy as np

    found: Array = rng.standard_normal(shape, dtype=np.float32) * np.float32(stddev) + np.float32(mean)
    return found


def _truncated(mean: float, stddev: float, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Nothing farther than two standard deviations; what is, is drawn anew."""
    import numpy as np

    found = np.asarray(rng.standard_normal(shape, dtype=np.float32)).reshape(-1)
    while (far := np.flatnonzero(np.abs(found) > 2)).size:
        found[far] = rng.standard_normal(far.size, dtype=np.float32)
    result: Array = found.reshape(shape) * np.float32(stddev) + np.float32(mean)
    return result


def _constant(
    config: Mapping[str, Any], shape: tuple[int, ...], rng: np.random.Generator, at: str, fans: tuple[int, int] | None
) -> Array:
    import numpy as np

    value = config.get("value", 0.0)
    if isinstance(value, Mapping):  # an array
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, Mapping) else value.get("value")
    try:
        array = np.asarray(value, dtype=np.float64)
        return np.broadcast_to(array, shape)
    except (TypeError, ValueError) as error:
        message = f"{value!r:.60} as the value of a constant of shape {shape}; wanted a number, or an array of that shape"
        raise invalid("LY-003", message, f"{at}.config.value") from error


def _identity(
    config: Mapping[str, Any], shape: tuple[int, ...], rng: np.random.Generator, at: str, fans: tuple[int, int] | None
) -> Array:
    import numpy as np

    if len(shape) != 2:
        raise invalid("LY-003", f"an identity matrix for a variable of shape {shape}; wanted two axes", at)
    found: Array = np.eye(*shape, dtype=np.float32) * np.float32(_number(config, "gain", 1.0, at))
    return found


def _orthogonal(
    config: Mapping[str, Any], shape: tuple[int, ...], rng: np.random.Generator, at: str, fans: tuple[int, int] | None
) -> Array:
    import numpy as np

    if len(shape) < 2:
        raise invalid("LY-003", f"an orthogonal matrix for a variable of shape {shape}; wanted two axes or more", at)
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    found: Array = (q.T if rows < columns else q).reshape(shape) * _number(config, "gain", 1.0, at)
    return found


def _variance_scaling(
    config: Mapping[str, Any], shape: tuple[int, ...], rng: np.random.Generator, at: str, fans: tuple[int, int] | None
) -> Array:
    scale = _number(config, "scale", 1.0, at)
    mode, distribution = config.get("mode", "fan_in"), config.get("distribution", "truncated_normal")
    if scale <= 0 or mode not in ("fan_in", "fan_out", "fan_avg") or not isinstance(distribution, str):
        raise invalid("LY-003", "arguments of VarianceScaling that Keras would not take", f"{at}.config")
    distribution = "truncated_normal" if distribution.lower() == "normal" else distribution.lower()
    if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
        raise invalid("LY-003", f"{distribution!r:.60} as a distribution", f"{at}.config.distribution")
    given = config.get("input_axes") is not None and config.get("output_axes") is not None
    return _scaled(scale, mode, distribution, shape, rng, _fans(shape, config, at) if given or fans is None else fans)


Make = Callable[..., Any]
_MAKE: dict[str, Make] = {
    **dict.fromkeys(("zeros", "zero"), lambda config, shape, rng, at, fans: _constant({}, shape, rng, at, fans)),
    **dict.fromkeys(("ones", "one"), lambda config, shape, rng, at, fans: _constant({"value": 1.0}, shape, rng, at, fans)),
    "constant": _constant,
    **dict.fromkeys(("identity", "identityinitializer"), _identity),
    **dict.fromkeys(("orthogonal", "orthogonalinitializer"), _orthogonal),
    "variancescaling": _variance_scaling,
    **dict.fromkeys(
        ("randomnormal", "normal"),
        lambda config, shape, rng, at, fans: _normal(
            _number(config, "mean", 0.0, at), _number(config, "stddev", 0.05, at), shape, rng
        ),
    ),
    "truncatednormal": lambda config, shape, rng, at, fans: _truncated(
        _number(config, "mean", 0.0, at), _number(config, "stddev", 0.05, at), shape, rng
    ),
    **dict.fromkeys(
        ("randomuniform", "uniform"),
        lambda config, shape, rng, at, fans: _uniform(
            _number(config, "minval", -0.05, at), _number(config, "maxval", 0.05, at), shape, rng
        ),
    ),
}
