// TensorFlow.js: a model is built from its config by `loadLayersModel`, as from the topology in a `model.json`.
//
// It gives variables with names and shapes, and no inner paths.  These are made here: the objects of a model as Keras walks over
// them, the classes counted, each object's own variables numbered, trained ones first.
// It opens neither `.keras` nor HDF5: the converter that does is a Python package (tensorflowjs) and imports TensorFlow.
import { readFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import { counter, form, main, member, snake, Unsupported } from './protocol.mjs';

await tf.setBackend('cpu');

// Attributes that Keras walks over, by its names in the order of its walk.
const PARTS = [
  ['backward_layer', 'backwardLayer'],
  ['cell', 'cell'],
  ['cells', 'cells'],
  ['forward_layer', 'forwardLayer'],
  ['layer', 'layer'],
];

function* variables(object, path, seen) {
  if (!object || seen.has(object)) return;
  seen.add(object);
  const own = [...(object._trainableWeights ?? []), ...(object._nonTrainableWeights ?? [])];
  const at = path ? `${path}/` : '';
  const isModel = Array.isArray(object.layers);
  for (const [number, variable] of isModel ? [] : own.entries()) {
    if (!seen.has(variable)) {
      seen.add(variable);
      yield {
        path: `${at}vars/${number}`,
        shape: variable.shape,
        dtype: variable.dtype,
        name: variable.originalName.split('/').pop(),
      };
    }
  }
  const list = function* (members, name) {
    const count = counter();
    for (const it of members) yield* variables(it, `${at}${name}/${count(snake(it.getClassName()))}`, seen);
  };
  if (isModel) yield* list(object.layers, 'layers');
  for (const [name, key] of PARTS) {
    if (Array.isArray(object[key])) yield* list(object[key], name);
    else if (object[key]?.getClassName) yield* variables(object[key], `${at}${name}`, seen);
  }
}

await main(async ({ input, kind, keras }) => {
  if (kind === 'write') throw new Unsupported('TensorFlow.js writes a model.json, no Keras file');
  const is = form(input);
  if (is !== 'json' && !(is === 'zip' && kind === 'tree')) {
    throw new Unsupported('TensorFlow.js opens configs; the converter is Python');
  }
  const text = is === 'json' ? readFileSync(input) : member(input, 'config.json');
  const modelTopology = JSON.parse(text.toString('utf-8'));
  const built = modelTopology?.model_config ?? modelTopology;
  if (!['Sequential', 'Functional', 'Model'].includes(built?.class_name)) {
    throw new Unsupported('loadLayersModel takes models, not a layer alone');
  }
  const version = keras ?? (is === 'zip' ? JSON.parse(member(input, 'metadata.json').toString('utf-8')).keras_version : '');
  if (kind === 'tree' && /^2\.1[234]\./.test(version)) {
    throw new Unsupported('this adapter numbers objects as Keras 2.15 and later does');
  }
  const model = await tf.loadLayersModel({ load: async () => ({ modelTopology }) }, false);
  try {
    const found = Array.from(variables(model, '', new Set()));
    return kind === 'tree' ? { result: 'tree', variables: found } : { result: 'read', weights: {} };
  } finally {
    tf.disposeVariables();
  }
});
