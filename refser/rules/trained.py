"""What a model's optimizer is built for: the variables that are trained, and whether the loss is scaled.

Spec: spec/weight-trees.md (WT).  Keras: `Layer.trainable_variables`, `Trainer.compile`.  Not here: what an optimizer keeps for
them (optimizers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from refser.config.policy import Policy
from refser.rules.layer import KERAS_3, MODELS, Layer, Unbuilt, Unknown
from refser.rules.optimizers import Weight
from refser.rules.table import rule_for
from refser.rules.walk import Owner

if TYPE_CHECKING:
    from refser.rules.tree import WeightSpec

Specs = Mapping[str, Sequence["WeightSpec"]]  # by group
FROZEN_BEFORE_BUILT_SINCE = (3, 2)  # until then, `trainable=False` in a constructor kept nothing from training
FUNCTIONAL = ("Functional", "Model")


def trainable_weights(model: Owner, scope: str, specs: Specs, blocked: set[str]) -> Iterator[Weight]:
    """`model.trainable_variables`.  Raises `Unknown` where the config does not tell."""
    if model.layer.trainable is False:
        return
    name = model.layer.name or ""
    copies: set[str] = set()  # the variables of an inner layer that a layer around it has already counted
    todo: list[tuple[Owner, tuple[str, ...], tuple[int, ...], bool]] = [(model, (name,), (0,), True)]
    while todo:
        owner, names, starts, built = todo.pop()
        layer = owner.layer
        if layer.trainable is not False or KERAS_3 <= layer.version < FROZEN_BEFORE_BUILT_SINCE:
            _refuse_unknown(owner, owner.path in blocked, built)
        for (var, shape), spec in zip(owner.variables, specs.get(owner.group, ())):
            path = spec.variable_path
            if var.of and path:
                copies.add(path)
            elif path in copies:
                continue
            if spec.trainable is None:
                raise Unknown(f"whether {path or spec.path} was frozen: it depends on when `trainable` was set")
            if not spec.trainable:
                continue
            made = (*names, *path.split("/")[-2:]) if var.of and path else (*names, var.name or "")
            begins = (*starts, len(names)) if var.of else starts
            yield Weight(
                path.removeprefix(scope) if path else None,
                shape,
                layer.policy.variable_dtype if var.dtype == "compute" else spec.dtype,
                path,
                var.slot,
                ["/".join(made[start:]) for start in begins or (len(names) - 1,)],
            )
        member = layer.key in MODELS
        below = () if layer.key in FUNCTIONAL else starts  # its name is no part of the paths of its layers' variables
        for child in reversed(owner.children):
            # A layer with a config of its own is built by itself when a model is loaded, and its path starts there.
            more = (*below, len(names)) if child.layer.json else below
            # What a layer that was built holds without having built it has no variables, such as Bidirectional's old copy.
            todo.append((child, (*names, child.layer.name or ""), more, child.layer.build is not None if member else built))


def _refuse_unknown(owner: Owner, blocked: bool, built: bool) -> None:
    """Raises `Unknown` where the variables of a layer, or which of them are trained, are more than the config tells."""
    layer = owner.layer
    if blocked:
        raise Unknown(f"which variables {layer.class_name} has, at {owner.path or 'the top'}")
    if not built and is_unbuilt(layer):
        raise Unknown(f"the variables of {layer.name}, which was not built when the config was written")
    if layer.config.get("lora_rank"):
        raise Unknown(f"the matrices of LoRA, which {layer.name} trains and does not save")
    if layer.trainable is False and any(var.trainable for var, _ in owner.variables):
        raise Unknown(f"whether {layer.name} was frozen: it depends on when `trainable` was set")


def is_unbuilt(layer: Layer) -> bool:
    """Whether the layer has variables, or layers of its own, that it only makes for the shape of its input."""
    rule = rule_for(layer.key)
    try:
        if rule:
            rule.variables_of(layer)
            list(rule.children(layer) if rule.children else ())
    except Unbuilt:
        return True
    return False


def floatx_of(model: Owner) -> str | None:
    """The type of `learning_rate`, which the config does not tell; float32, unless all layers have float64."""
    found = {owner.layer.policy.variable_dtype for owner in model if owner.variables}
    return None if found == {"float64"} else "float32"


# Loss scaling


def has_loss_scaling(model: Owner) -> bool:
    """Whether the model's own policy is mixed_float16: `compile` then puts a LossScaleOptimizer around the optimizer.

    A Functional model does not say; its layers do, all but those of its outputs, which are often float32 all the same.
    """
    if "dtype" in model.layer.config:
        if not model.layer.policy.known:
            raise Unknown("the model's policy, which decides whether the loss is scaled")
        return _is_mixed(model.layer.policy) and not model.layer.policy.mode
    layers = list(_tellers(model))
    mixed = [layer for layer in layers if _is_mixed(layer.policy)]
    if not mixed:
        return False
    outputs = set(_strings(model.layer.config.get("output_layers")))
    if all(_is_mixed(layer.policy) or layer.name in outputs or layer is layers[-1] for layer in layers):
        return True
    raise Unknown("whether the loss is scaled: some layers have the policy mixed_float16, others have not")


def _is_mixed(policy: Policy) -> bool:
    return (policy.variable_dtype, policy.compute_dtype) == ("float32", "float16")


def _tellers(model: Owner) -> Iterator[Layer]:
    """The layers whose policy is likely to be the model's."""
    for child in model.children:
        layer = child.layer
        if layer.key in MODELS and "dtype" not in layer.config:
            yield from _tellers(child)
        elif layer.key != "InputLayer" and "dtype" in layer.config and "float" in layer.policy.variable_dtype:
            yield layer


def _strings(value: Any) -> Iterator[str]:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, (list, tuple)):
            todo.extend(item)
        elif isinstance(item, Mapping):
            todo.extend(item.values())
