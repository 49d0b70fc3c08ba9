// h5wasm, the C library for HDF5 in WebAssembly, as a reader.
//
// It knows HDF5 and nothing of Keras.  What a reader on top of it has to add is here: which datasets are weights (those below a
// group `vars`, or those that a legacy file lists), their order, and the dtype that the attribute of an opaque dataset names.
// Which file it can open, the shape, the type and the bytes are h5wasm's.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import h5wasm from 'h5wasm/node';
import { form, main, member, sha256, Unsupported } from './protocol.mjs';

await h5wasm.ready;

const DEEP = 64; // a group can hold itself
const NARROW = { bfloat16: 2, float8_e4m3fn: 1, float8_e5m2: 1 };

function dtype(dataset) {
  const { type, size, signed } = dataset.metadata;
  if (type === 0) return `${signed ? 'int' : 'uint'}${size * 8}`;
  if (type === 1) return `float${size * 8}`;
  if (type === 3 || type === 9) return 'string';
  if (type === 5) {
    const name = dataset.attrs.dtype?.value ?? { 1: 'float8_e4m3fn', 2: 'bfloat16' }[size];
    if (NARROW[name] !== size) throw new Error(`opaque elements of ${size} bytes, called ${name}`);
    return name;
  }
  if (type === 6 && (size === 8 || size === 16)) return `complex${size * 8}`;
  if (type === 8 && size === 1) return 'bool';
  throw new Error(`elements of HDF5 class ${type}`);
}

// The bytes as numbers are given to a caller, then little-endian.
function bytes(dataset, name) {
  const { metadata, value } = dataset;
  if (metadata.shape?.includes(0)) return Buffer.alloc(0);
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const size = metadata.size;
  const cells = (Array.isArray(value) ? value.flat(Infinity) : [value]).map((cell) => {
    if (cell instanceof Uint8Array) return Buffer.from(cell);
    const one = Buffer.alloc(size);
    if (name === 'bool') one[0] = Number(cell);
    else if (name === 'float32') one.writeFloatLE(cell);
    else if (name === 'float64') one.writeDoubleLE(cell);
    else if (typeof cell === 'bigint') metadata.signed ? one.writeBigInt64LE(cell) : one.writeBigUInt64LE(cell);
    else if (name.includes('int')) metadata.signed ? one.writeIntLE(cell, 0, size) : one.writeUIntLE(cell, 0, size);
    else return null;
    return one;
  });
  return cells.includes(null) ? null : Buffer.concat(cells);
}

function described(dataset) {
  const name = dtype(dataset);
  const { shape } = dataset.metadata;
  if (!shape) throw new Error(`${dataset.path}: no shape`);
  const raw = bytes(dataset, name);
  const found = { shape: Array.from(shape), dtype: name };
  return raw === null || name === 'string' ? found : { ...found, sha256: sha256(raw) };
}

const number = /^[0-9]{1,9}$/;
const order = ([a], [b]) => {
  const [first, second] = [number.test(a), number.test(b)];
  return first && second ? Number(a) - Number(b) : first !== second ? (first ? -1 : 1) : a < b ? -1 : 1;
};

function store(group, path, weights) {
  if (path.split('/').length > DEEP) throw new Error('groups without an end');
  const inside = path === 'vars' || path.endsWith('/vars') || path.includes('/vars/') || path.startsWith('vars/');
  const found = group.keys().map((key) => [key, group.get(key)]);
  for (const [key, it] of inside ? found.sort(order) : found) {
    const at = path ? `${path}/${key}` : key;
    if (it === null) throw new Error(`${at}: get() gives null`);
    if (it.type === 'Group') store(it, at, weights);
    else if (it.type === 'Dataset' && inside) weights[at] = described(it);
    else throw new Error(it.type === 'Dataset' ? `a dataset ${at} outside of vars` : `${at} is a ${it.type}`);
  }
}

function names(group, attribute) {
  const attrs = group.attrs;
  const parts = [];
  if (attrs[attribute]) parts.push(attrs[attribute]);
  else for (let part = 0; attrs[`${attribute}${part}`]; part++) parts.push(attrs[`${attribute}${part}`]);
  if (!parts.length) throw new Error(`no ${attribute} on ${group.path}`);
  return parts.flatMap((part) => Array.from(part.value ?? []));
}

function listed(group, path, weights) {
  for (const name of names(group, 'weight_names')) {
    const dataset = group.get(name);
    if (dataset?.type !== 'Dataset') throw new Error(`no dataset ${path}/${name}`);
    weights[`${path}/${name}`] = described(dataset);
  }
}

function legacy(group, under, weights) {
  for (const layer of [...names(group, 'layer_names'), ...(group.keys().includes('top_level_model_weights') ? ['top_level_model_weights'] : [])]) {
    const owner = group.get(layer);
    if (owner?.type !== 'Group') throw new Error(`no group ${layer}`);
    listed(owner, `${under}${layer}`, weights);
  }
}

function read(path) {
  const file = new h5wasm.File(path, 'r');
  try {
    const weights = {};
    const keys = file.keys();
    if (keys.includes('model_weights')) {
      legacy(file.get('model_weights'), 'model_weights/', weights);
      if (keys.includes('optimizer_weights')) listed(file.get('optimizer_weights'), 'optimizer_weights', weights);
    } else if (file.attrs.layer_names ?? file.attrs.layer_names0) legacy(file, '', weights);
    else store(file, '', weights);
    return { result: 'read', weights };
  } finally {
    file.close();
  }
}

await main(async ({ input, kind }) => {
  if (kind === 'tree' || kind === 'write') throw new Unsupported('h5wasm knows HDF5, not configs');
  const is = form(input);
  if (is === 'hdf5') return read(input);
  if (is === 'directory') return read(join(input, 'model.weights.h5'));
  if (is !== 'zip') throw new Unsupported('no HDF5');
  const folder = mkdtempSync(join(tmpdir(), 'h5wasm-'));
  try {
    const path = join(folder, 'model.weights.h5');
    writeFileSync(path, member(input, 'model.weights.h5'));
    return read(path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
