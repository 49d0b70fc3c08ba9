"""What each optimizer keeps for the variables that it trains, as data, and the arrays that this makes.

Spec: spec/weight-trees.md (WT).  Keras: keras.optimizers.  Not here: optimizers around others, which variables are
trained, where the arrays are saved (optimizer_slots).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from refser.rules.layer import KERAS_3, Layer, Shape, Unknown, Version
from refser.rules.patterns import Budget, TooSlow

DUMMIES_OF_INTEGERS_SINCE, EMA_IN_A_BLOCK_SINCE, MUON_FOR_MATRICES_SINCE = (3, 8), (3, 10), (3, 13)


class Weight(NamedTuple):
    """A trainable variable of the model, as an optimizer sees it."""

    path: str | None  # "dense/kernel", below the model that the optimizer trains
    shape: Shape
    dtype: str | None
    of: str | None = None  # its `WeightSpec.variable_path`
    slot: bool = True  # False: overwritten by its gradient, as the scales of float8 are
    keras_paths: Sequence[str] = ()  # what `Variable.path` may be, in a model just made or in a reloaded one


class State(NamedTuple):
    """One array of an optimizer."""

    path: str | None  # "optimizer/dense/kernel/momentum"
    name: str | None  # "momentum"; None where Keras numbers it by a global counter
    shape: Shape = ()
    dtype: str | None = None  # None: the backend's default integer, or not known
    of: str | None = None  # the `variable_path` of the variable that it belongs to


class Trained(NamedTuple):
    """What an optimizer is built for."""

    weights: Callable[[], Sequence[Weight]]  # raises `Unknown` where the config cannot tell; asked only by who needs them
    floatx: str | None
    budget: Budget


class Slots(NamedTuple):
    """Slots of the variables' shapes, for each variable in turn: "momentum, velocity" is two of the first, two of the next."""

    names: str
    when: str = ""  # an argument that has to be true, or more than 0
    every: bool = False  # also for variables that are overwritten by their gradients


class Optimizer(NamedTuple):
    """What an optimizer keeps: blocks of slots one after the other, or slots that depend on the variable; then one scalar."""

    class_name: str
    slots: Sequence[Slots] = ()
    each: Callable[[Layer, Weight, Budget], Iterable[tuple[str, Shape, str | None]]] | None = None
    every: bool = False  # those for variables that are overwritten by their gradients, too
    scalar: str = ""  # what Keras calls it in the code; it stands before the slots until 3.10


def _adafactor(optimizer: Layer, weight: Weight, _: Budget) -> Iterator[tuple[str, Shape, str | None]]:
    """Rows and columns of the last two axes; two dummies for a vector, which tf.keras made and did not save."""
    if len(weight.shape) >= 2:
        yield "r", weight.shape[:-1], weight.dtype
        yield "c", weight.shape[:-2] + weight.shape[-1:], weight.dtype
    elif optimizer.version >= KERAS_3:
        dtype = "int32" if optimizer.version >= DUMMIES_OF_INTEGERS_SINCE else "float32"
        yield "r", (), dtype
        yield "c", (), dtype
    yield "velocity" if optimizer.version >= KERAS_3 else "v", weight.shape, weight.dtype


def _muon(optimizer: Layer, weight: Weight, budget: Budget) -> Iterator[tuple[str, Shape, str | None]]:
    yield "momentum", weight.shape, weight.dtype
    if _by_adamw(optimizer, weight, budget):
        yield "velocity", weight.shape, weight.dtype


def _by_adamw(optimizer: Layer, weight: Weight, budget: Budget) -> bool:
    """Whether Muon leaves the variable to AdamW: no matrix, an embedding, or one that the user excludes."""
    excluded = optimizer.config.get("exclude_layers") or []
    if not isinstance(excluded, list) or not all(isinstance(pattern, str) for pattern in excluded):
        raise optimizer.refuse("exclude_layers", "a list of regular expressions")
    rank = len(weight.shape)
    if rank != 2 and (optimizer.version >= MUON_FOR_MATRICES_SINCE or rank != 3):
        return True
    embeddings = optimizer.flag("exclude_embeddings", True)
    try:
        found = {
            (embeddings and "embedding" in path.lower()) or any(budget.search(pattern, path) for pattern in excluded)
            for path in weight.keras_paths
        }
    except TooSlow:
        raise Unknown("what exclude_layers of Muon matches: the expressions may take too long") from None
    except ValueError:
        raise optimizer.refuse("exclude_layers", "a list of regular expressions") from None
    if len(found) > 1:
        raise Unknown(f"whether Muon trains {weight.path}: its path in Keras depends on how the model was built")
    return True in found


_M_V, _MOMENTUM_VELOCITY = Slots("m, v"), Slots("momentum, velocity")
_OPTIMIZERS = (
    Optimizer("SGD", (Slots("momentum", when="momentum"),)),
    Optimizer(
        "RMSprop",
        (Slots("velocity"), Slots("momentum", when="momentum"), Slots("average_gradient", when="centered")),
    ),
    Optimizer("Adam", (_MOMENTUM_VELOCITY, Slots("velocity_hat", when="amsgrad"))),
    Optimizer("AdamW", (_MOMENTUM_VELOCITY, Slots("velocity_hat", when="amsgrad"))),
    Optimizer("Adadelta", (Slots("accumulated_grad, accumulated_delta_var"),)),
    Optimizer("Adagrad", (Slots("accumulator"),)),
    Optimizer("Adamax", (Slots("momentum, norm"),)),
    Optimizer("Adafactor", each=_adafactor, every=True),
    Optimizer("Nadam", (_MOMENTUM_VELOCITY,), scalar="u_product"),
    Optimizer("Ftrl", (Slots("accumulator, linear"),)),
    Optimizer("Lion", (Slots("momentum"),)),
    Optimizer("Lamb", (_MOMENTUM_VELOCITY,)),
    Optimizer("Muon", each=_muon),
    Optimizer("ScheduleFreeAdamW", (_MOMENTUM_VELOCITY,)),
)
# Where tf.keras differs: other names, SGD's momentum whether used or not, Nadam's scalar not saved.
_OF_TF_KERAS = (
    Optimizer("SGD", (Slots("m"),)),
    Optimizer("Adam", (_M_V, Slots("vhat", when="amsgrad"))),
    Optimizer("AdamW", (_M_V, Slots("vhat", when="amsgrad"))),
    Optimizer("Adamax", (Slots("m, u"),)),
    Optimizer("Nadam", (_M_V,)),
    Optimizer("Lion", (Slots("m"),)),
)
_RULES = {rule.class_name.lower(): rule for rule in _OPTIMIZERS}  # Keras takes these names in any case
_TF_RULES = _RULES | {rule.class_name.lower(): rule for rule in _OF_TF_KERAS}


def optimizer_rule(class_name: str, version: Version) -> Optimizer | None:
    return (_RULES if version >= KERAS_3 else _TF_RULES).get(class_name.lower())


def all_optimizers() -> Sequence[Optimizer]:
    return _OPTIMIZERS


def counters(optimizer: Layer, trained: Trained, path: str, *, learning_rate: bool) -> list[State]:
    """`iteration`, and `learning_rate` unless tf.keras made the file."""
    if optimizer.version < KERAS_3:
        return [State(f"{path}/iteration", "iteration", dtype="int64")]
    found = [State(f"{path}/iteration", "iteration")]
    return [*found, State(f"{path}/learning_rate", "learning_rate", dtype=trained.floatx)] if learning_rate else found


def states_of(rule: Optimizer, optimizer: Layer, trained: Trained, path: str) -> list[State]:
    """The arrays of an optimizer whose own path is `path`, in file order."""
    found = counters(optimizer, trained, path, learning_rate=not _has_schedule(optimizer))
    for slots in _common(optimizer):
        found.extend(_block(slots, optimizer, trained))
    scalar = _scalar(rule, trained, path) if rule.scalar else []
    if optimizer.version < EMA_IN_A_BLOCK_SINCE:
        found.extend(scalar)
    for slots in rule.slots:
        if not slots.when or _given(optimizer, slots.when):
            found.extend(_block(slots, optimizer, trained))
    if rule.each:
        for weight in _in_order(trained.weights()) if rule.every else trained.weights():
            if weight.slot:
                found.extend(_state(weight, *slot) for slot in rule.each(optimizer, weight, trained.budget))
    if optimizer.version >= EMA_IN_A_BLOCK_SINCE:
        found.extend(scalar)
    return found


def _common(optimizer: Layer) -> list[Slots]:
    """What every optimizer may keep; until 3.10 the two took turns."""
    found = [Slots("average")] if optimizer.flag("use_ema") else []
    if optimizer.version >= KERAS_3 and optimizer.config.get("gradient_accumulation_steps"):
        optimizer.integer("gradient_accumulation_steps", least=2)
        found.append(Slots("gradient_accumulator", every=True))
    if len(found) == 2 and optimizer.version < EMA_IN_A_BLOCK_SINCE:
        return [Slots("average, gradient_accumulator")]
    return found


def _block(slots: Slots, optimizer: Layer, trained: Trained) -> Iterator[State]:
    weights = trained.weights()
    if slots.every or optimizer.version < EMA_IN_A_BLOCK_SINCE:
        weights = _in_order(weights)
    names = [name.strip() for name in slots.names.split(",")]
    for weight in weights:
        if weight.slot:
            yield from (_state(weight, name, weight.shape, weight.dtype) for name in names)


def _state(weight: Weight, name: str, shape: Shape, dtype: str | None) -> State:
    path = None if weight.path is None else f"optimizer/{weight.path}/{name}"
    return State(path, name, shape, dtype, weight.of)


def _scalar(rule: Optimizer, trained: Trained, path: str) -> list[State]:
    """Without a name of its own; of the type of the first variable."""
    weights = trained.weights()
    return [State(f"{path}/{rule.scalar}", None, dtype=weights[0].dtype if weights else trained.floatx)]


def _in_order(weights: Sequence[Weight]) -> Sequence[Weight]:
    """All of them, in the order of their making.  Raises `Unknown` where that is not the order in which a layer saves them."""
    if not all(weight.slot for weight in weights):
        raise Unknown("whether the scales of float8 were made before the layer's other variables or after them")
    return weights


def _has_schedule(optimizer: Layer) -> bool:
    """A schedule, or a function, in the place of a number."""
    value = optimizer.config.get("learning_rate")
    if isinstance(value, Mapping):
        return True
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise optimizer.refuse("learning_rate", "a number or a schedule")
    return False


def _given(optimizer: Layer, argument: str) -> bool:
    value = optimizer.config.get(argument)
    if value is not None and (not isinstance(value, (bool, int, float)) or value < 0):
        raise optimizer.refuse(argument, "a number, at least 0")
    return bool(value)


__all__ = ["Optimizer", "Slots", "State", "Trained", "Weight", "all_optimizers", "counters", "optimizer_rule", "states_of"]
