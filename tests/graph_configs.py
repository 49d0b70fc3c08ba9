"""Configs of small models, written by hand."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]
Shape = tuple[int | None, ...]


def tensor(name: str | None, call: int = 0, output: int = 0, *, shape: Shape = (None, 2), dtype: str = "float32") -> Config:
    history = None if name is None else [name, call, output]
    return {"class_name": "__keras_tensor__", "config": {"shape": list(shape), "dtype": dtype, "keras_history": history}}


def call(*args: Any, **kwargs: Any) -> Config:
    return {"args": list(args), "kwargs": kwargs}


def layer(class_name: str, name: str, config: Config, calls: Any = None, **beside: Any) -> Config:
    found: Config = {"module": "keras.layers", "class_name": class_name, "config": {"name": name, **config}}
    if calls is not None:
        found |= {"name": name, "inbound_nodes": calls}
    return {**found, **beside}


def input_layer(name: str, shape: Shape = (None, 2)) -> Config:
    return layer("InputLayer", name, {"batch_shape": list(shape)}, [])


def dense(name: str, calls: Any = None, *, units: int = 2, **beside: Any) -> Config:
    return layer("Dense", name, {"units": units}, calls, **beside)


def functional(layers: list[Any], inputs: Any, outputs: Any, name: Any = "m") -> Config:
    config = {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": config}


def sequential(layers: list[Any], name: Any = "s", **beside: Any) -> Config:
    return {"module": "keras", "class_name": "Sequential", "config": {"name": name, "layers": layers}, **beside}
