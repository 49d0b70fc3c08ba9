"""Load model files with whatever Keras this interpreter has and compare them: reload_with.py JOBS.json RESULTS.json.

A job: `original` and `copy`, paths; `kinds`, of each "model", "weights" or "config"; `bases`, files to build a model from
when there are only weights.  A result: "same", "both fail" (the original as well as the copy), or what is wrong.
Runs under Python 3.7 and Keras 1.2 to 3.15.  Needs no pytest and no refser.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
try:
    from tensorflow import keras as tf_keras

    IS_TF_KERAS = tf_keras.__version__.startswith("2.")
except Exception:  # no TensorFlow, or one too old to have it
    IS_TF_KERAS = False
if IS_TF_KERAS and "--standalone" not in sys.argv:
    keras = tf_keras
else:
    import keras
RELEASE = tuple(int(part) for part in keras.__version__.split(".")[:2])


class Both:
    """A model and whether it came compiled."""

    def __init__(self, model, compiled):
        self.model, self.compiled = model, compiled


def load_model(path):
    """Load, without compiling where compiling fails."""
    try:
        return Both(keras.models.load_model(path), True)
    except Exception as error:
        if RELEASE < (2, 0):
            raise
        try:
            return Both(keras.models.load_model(path, compile=False), False)
        except Exception as second:
            raise second from error


def load_base(bases):
    """The first model that can be built from one of the files."""
    errors = []
    for base in bases:
        try:
            if not base.endswith(".json"):
                return load_model(base)
            with open(base, encoding="utf-8") as file:
                return Both(keras.models.model_from_json(file.read()), False)
        except Exception as error:
            errors.append(brief(error))
    raise ValueError("no model to load weights into: " + "; ".join(errors))


def load(path, kind, bases):
    """A model with all that `path` holds, and nothing left of what its base held."""
    if kind == "model":
        return load_model(path)
    both = load_base(bases)
    both.model.set_weights([w if w.dtype == object else np.full(w.shape, 1, w.dtype) for w in both.model.get_weights()])
    if kind == "weights":
        both.model.load_weights(path)
    return both


def inputs_of(model):
    """Fixed inputs of the shapes and dtypes that the model wants."""
    made = []
    rng = np.random.RandomState(3)
    for tensor in model.inputs:
        shape = getattr(tensor, "_keras_shape", None) or tensor.shape
        shape = shape.as_list() if hasattr(shape, "as_list") else list(shape)
        shape = (2, *[int(n) for n in shape[1:]])
        dtype = getattr(tensor.dtype, "name", tensor.dtype)
        is_tokens = "tokens" in tensor.name  # float32 in Keras 1
        if dtype == "string":
            import tensorflow as tf

            made.append(tf.constant([["red blue green"], ["white nothing"]]))
        else:
            made.append(rng.randint(0, 5, shape).astype(dtype) if is_tokens else rng.normal(size=shape).astype("float32"))
    return made if len(made) > 1 else made[0]


def digest(array):
    plain = np.asarray(array)
    if plain.dtype == object:  # the words of a vocabulary
        return ["words", list(plain.shape), repr(plain.tolist())]
    return [str(plain.dtype), list(plain.shape), hashlib.sha256(plain.tobytes()).hexdigest()]


def optimizer_values(model):
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return []
    if RELEASE >= (3, 0):
        return [keras.ops.convert_to_numpy(variable) for variable in optimizer.variables]
    if hasattr(optimizer, "get_weights"):
        return optimizer.get_weights()
    variables = optimizer.variables
    return [variable.numpy() for variable in (variables() if callable(variables) else variables)]


def state_of(both):
    model = both.model
    outputs = model.predict(inputs_of(model), verbose=0)
    return {
        "predictions": [digest(output) for output in (outputs if isinstance(outputs, (list, tuple)) else [outputs])],
        "weights": [digest(weight) for weight in model.get_weights()],
        "optimizer": [digest(value) for value in optimizer_values(model)],
    }


def config_of(path):
    """What the model built from a config says its config is, without the numbers that Python's `id` gave."""
    with open(path, encoding="utf-8") as file:
        text = json.dumps(json.loads(keras.models.model_from_json(file.read()).to_json()), sort_keys=True)
    return re.sub(r', "shared_object_id": \d+', "", text)


def brief(error):
    return (type(error).__name__ + ": " + " ".join(str(error).split()))[:160]


def run(job):
    states, errors = [], []
    for path, kind in zip((job["original"], job["copy"]), job["kinds"]):
        keras.backend.clear_session()  # so that automatic names start anew
        if hasattr(keras.backend, "reset_uids"):
            keras.backend.reset_uids()
        try:
            if kind == "config":
                states.append({"config": config_of(path)})
            else:
                states.append(state_of(load(path, kind, job["bases"])))
            errors.append(None)
        except Exception as error:
            states.append(None)
            errors.append(brief(error).replace(path, "FILE"))
    result = {"name": job["name"], "error": errors[0] or errors[1] or ""}
    if errors[0] and errors[1]:
        same = errors[0][:80] in errors[1]  # a copy of weights may lack the model, which is the original
        return dict(result, status="both fail" if same else "BOTH FAIL, each in its way", copy_error=errors[1])
    if errors[0] or errors[1]:
        return dict(result, status="ORIGINAL FAILS, copy loads" if errors[0] else "COPY FAILS")
    wrong = [part for part in states[0] if states[0][part] != states[1][part]]
    # Weights alone bring no optimizer state in the legacy layouts.
    if job["kinds"][1] == "weights" and job["legacy"]:
        wrong = [part for part in wrong if part != "optimizer"]
    counts = {part: len(values) for part, values in states[0].items()}
    return dict(result, status="DIFFERENT " + ", ".join(wrong) if wrong else "same", counts=counts)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as jobs_file:
        found = {"keras": keras.__version__, "results": [run(job) for job in json.load(jobs_file)]}
    with open(sys.argv[2], "w", encoding="utf-8") as results_file:
        json.dump(found, results_file)
