// A small reader of `.keras` and `.weights.h5`: plain Node, no packages, from the specification alone.
//
//   node reader.mjs FILE            prints one answer of the protocol
// It takes what Keras itself writes (H5-010) and big-endian numbers; whatever else HDF5 has, it calls unsupported.
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { crc32 as zlibCrc32, inflateRawSync } from 'node:zlib';

class Stop extends Error {}
const stop = (answer) => { throw Object.assign(new Stop(answer.message), { answer }); };
const refuse = (code, message) => stop({ result: 'refused', code, message });
const unsupported = (reason) => stop({ result: 'unsupported', reason });
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
const crc32 = zlibCrc32 ?? (() => null); // Node 22.2 and later has it

// The archive [KZ].  Everything is taken from the directory; a name and a size are looked at before any data.
function archive(data) {
  const end = data.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  if (end < 0 || end + 22 > data.length) refuse('KZ-013', 'no end record');
  const members = new Map();
  let at = data.readUInt32LE(end + 16);
  for (let left = data.readUInt16LE(end + 10); left > 0; left--) {
    if (data.toString('latin1', at, at + 4) !== 'PK\x01\x02') refuse('KZ-013', 'the directory does not decode');
    const [flags, method, named, extra, comment] = [8, 10, 28, 30, 32].map((offset) => data.readUInt16LE(at + offset));
    const [crc, stored, size, local] = [16, 20, 24, 42].map((offset) => data.readUInt32LE(at + offset));
    const name = data.toString('utf8', at + 46, at + 46 + named);
    const parts = name.replace(/\/$/, '').split('/');
    if (/\\|\0|^[A-Za-z]:/.test(name) || parts.some((it) => ['', '.', '..'].includes(it))) refuse('KZ-003', name);
    if (members.has(name)) refuse('KZ-004', name);
    if (/^assets\/.*[\x00-\x1f\x7f]/.test(name)) refuse('KZ-010', name);
    if (data[at + 5] === 3 && ![0, 0x4, 0x8].includes(data[at + 41] >> 4)) refuse('KZ-014', name); // not a file, nor a folder
    const localName = data.subarray(local + 30, local + 30 + data.readUInt16LE(local + 26));
    if (!localName.equals(data.subarray(at + 46, at + 46 + named))) refuse('KZ-013', name);
    if (flags & 0x61) unsupported('an encrypted member');
    if (method !== 0 && method !== 8) unsupported(`compression ${method}`);
    const start = local + 30 + data.readUInt16LE(local + 26) + data.readUInt16LE(local + 28);
    if (start + stored > data.length) refuse('IO-004', name);
    if (!method && stored !== size) refuse('KZ-005', name);
    let bytes = data.subarray(start, start + stored);
    if (method) bytes = inflateRawSync(bytes, { maxOutputLength: size + 1 });
    if (bytes.length !== size) refuse('KZ-005', name);
    if ((crc32(bytes) ?? crc) !== crc && name !== 'model.weights.h5') refuse('KZ-008', name);
    members.set(name, bytes);
    at += 46 + named + extra + comment;
  }
  return members;
}

// HDF5 [H5].  An address counts from the first byte; Buffer refuses to read behind the last.
function hdf5(data) {
  const u16 = (at) => data.readUInt16LE(at);
  const u32 = (at) => data.readUInt32LE(at);
  const u64 = (at) => Number(data.readBigUInt64LE(at));
  const is = (at, text) => data.toString('latin1', at, at + text.length) === text;
  const must = (at, text) => is(at, text) || refuse('H5-011', `no ${text} at ${at}`);
  const seen = new Set();

  function messages(at) {
    if (is(at, 'OHDR')) unsupported('object headers of version 2');
    if (data[at] !== 1) refuse('H5-011', `no object header at ${at}`);
    const found = [];
    const blocks = [[at + 16, u32(at + 8)]];
    for (const [start, size] of blocks) {
      if (start + size > data.length || blocks.length > 1000) refuse('H5-011', 'a block outside of the file');
      for (let here = start; here + 8 <= start + size && found.length < u16(at + 2); here += 8 + u16(here + 2)) {
        if (here + 8 + u16(here + 2) > start + size) refuse('H5-011', 'a message longer than its block');
        if (data[here + 4] & 2) unsupported('a shared message');
        found.push([u16(here), here + 8]);
        if (u16(here) === 0x10) blocks.push([u64(here + 8), u64(here + 16)]);
      }
    }
    if (found.length !== u16(at + 2)) refuse('H5-011', 'fewer messages than the header says');
    return found;
  }

  // The links of a group: B-tree, symbol table nodes, names in a local heap [H5-040 to H5-047].
  function links(tree, heap) {
    must(heap, 'HEAP');
    const names = data.subarray(u64(heap + 24), u64(heap + 24) + u64(heap + 8));
    const found = [];
    const walk = (at, level) => {
      if (seen.has(at)) refuse('H5-005', 'a node met twice');
      seen.add(at);
      if (level === -1) {
        must(at, 'SNOD');
        for (let entry = at + 8; entry < at + 8 + 40 * u16(at + 6); entry += 40) {
          const ends = names.indexOf(0, u64(entry));
          if (ends < 0) refuse('H5-011', 'a name without an end');
          if (u32(entry + 16) === 2) refuse('H5-001', 'a soft link');
          found.push([names.toString('utf8', u64(entry), ends), u64(entry + 8)]);
        }
        return;
      }
      must(at, 'TREE');
      if (data[at + 4] !== 0 || (level !== null && data[at + 5] !== level)) refuse('H5-011', 'a node of another kind');
      for (let child = 0; child < u16(at + 6); child++) walk(u64(at + 32 + 16 * child), data[at + 5] - 1);
    };
    walk(tree, null);
    return found.map(([name, to]) => (/^\.{0,2}$|\//.test(name) ? refuse('H5-008', name) : [name, to]));
  }

  // The attribute `dtype`: one string of variable length, in a global heap [H5-051 to H5-054].
  function dtypeAttribute(all) {
    for (const [type, at] of all) {
      if (type !== 0x0c || data[at] !== 1) continue;
      const pad = (size) => (size + 7) & ~7;
      const [named, typed, spaced] = [u16(at + 2), u16(at + 4), u16(at + 6)];
      if (data.toString('utf8', at + 8, at + 8 + named - 1) !== 'dtype') continue;
      const value = at + 8 + pad(named) + pad(typed) + pad(spaced);
      const heap = u64(value + 4);
      must(heap, 'GCOL');
      for (let here = heap + 16; here < heap + u64(heap + 8) && u16(here); here += 16 + pad(u64(here + 8)))
        if (u16(here) === u32(value + 12)) return data.toString('utf8', here + 16, here + 16 + u32(value));
    }
    return null;
  }

  function weight(all) {
    const at = (wanted) => all.find(([type]) => type === wanted)?.[1] ?? refuse('H5-006', `no message ${wanted}`);
    const [space, type, layout] = [at(1), at(3), at(8)];
    if (data[space] !== 1) unsupported('a dataspace of version 2');
    const shape = Array.from({ length: data[space + 1] }, (_, axis) => u64(space + 8 + 8 * axis));
    const [kind, size, flags] = [data[type] & 15, u32(type + 4), data[type + 1]];
    let dtype = { 0: `${flags & 8 ? 'int' : 'uint'}${8 * size}`, 1: `float${8 * size}` }[kind]; // [H5-020]
    if (kind === 5) dtype = dtypeAttribute(all) ?? { 1: 'float8_e4m3fn', 2: 'bfloat16' }[size]; // [VA-002, VA-003, VA-005]
    if (kind === 5 && { bfloat16: 2, float8_e4m3fn: 1, float8_e5m2: 1 }[dtype] !== size) refuse('VA-002', dtype);
    if (kind === 8 && size === 1) dtype = 'bool'; // [H5-022]
    if (!dtype) unsupported(`elements of class ${kind}`);
    if (all.some(([type]) => type === 7)) refuse('H5-002', 'elements in an external file');
    if (data[layout] !== 3 || data[layout + 1] !== 1) unsupported('elements that are not contiguous');
    const count = shape.reduce((product, axis) => product * axis, size);
    const stored = data.readBigUInt64LE(layout + 2) !== 0xffffffffffffffffn;
    if (!stored && count > 1 << 24) refuse('LI-010', 'a large array of which nothing is stored');
    if (stored && count && (u64(layout + 10) !== count)) refuse('H5-012', 'other bytes than the shape takes');
    if (stored && u64(layout + 2) + count > data.length) refuse('H5-011', 'elements outside of the file');
    const bytes = stored ? Buffer.from(data.subarray(u64(layout + 2), u64(layout + 2) + count)) : Buffer.alloc(count);
    if (kind < 2 && flags & 1) for (let here = 0; here < count; here += size) bytes.subarray(here, here + size).reverse();
    return { dtype, shape, sha256: sha256(bytes) };
  }

  if (!is(0, '\x89HDF\r\n\x1a\n')) unsupported('no HDF5 at the first byte');
  if (data[8] !== 0 || data[13] !== 8 || data[14] !== 8) unsupported('a superblock that Keras does not write');
  if (u64(40) > data.length) refuse('H5-014', 'the file is cut short');
  const weights = {};
  const walk = (at, path, inside) => {
    const all = messages(at);
    const table = all.find(([type]) => type === 0x11);
    for (const [type, body] of all) {
      if (type !== 0x06) continue;
      if (data[body + 1] & 0x08 && data[body + 2]) refuse('H5-001', path); // soft or external
      unsupported('links as messages');
    }
    if (!table) return inside ? (weights[path] = weight(all)) : refuse('WH-001', path);
    if (seen.has(at)) refuse('H5-005', path);
    seen.add(at);
    const below = links(u64(table[1]), u64(table[1] + 8));
    const listed = all.some(([type, at]) => type === 0x0c && is(at + 8, 'layer_names'));
    if (!path && (listed || below.some(([name]) => name === 'model_weights'))) unsupported('a legacy file');
    const number = ([name]) => (/^[0-9]{1,9}$/.test(name) ? Number(name) : 1e9);
    if (inside) below.sort((a, b) => number(a) - number(b)); // [WH-004]; stable, and the links came sorted
    for (const [name, to] of below) walk(to, path ? `${path}/${name}` : name, inside || name === 'vars');
  };
  walk(u64(64), '', false);
  return weights;
}

function read(path) {
  if (statSync(path).isDirectory() || path.endsWith('.json')) unsupported('no archive and no weights file');
  const data = readFileSync(path);
  if (data.toString('latin1', 0, 2) !== 'PK') return { layout: 'weights-h5', weights: hdf5(data) };
  const members = archive(data);
  if (members.has('model.weights.npz')) refuse('NZ-001', 'weights as npz');
  if (!members.has('config.json') || !members.has('model.weights.h5')) refuse('KZ-009', 'no config or no store');
  const assets = [...members].filter(([name]) => name.startsWith('assets/') && !name.endsWith('/'));
  return {
    layout: 'keras-zip',
    config_sha256: sha256(members.get('config.json')),
    assets: Object.fromEntries(assets.map(([name, bytes]) => [name.slice(7), sha256(bytes)])),
    weights: hdf5(members.get('model.weights.h5')),
  };
}

let answer;
try {
  answer = { result: 'read', ...read(process.argv[2]) };
} catch (error) {
  // A Buffer throws a RangeError for what is behind its end, zlib an error with a code; all else is a bug here: a crash.
  if (!(error instanceof Stop || error instanceof RangeError || error.code?.startsWith('Z_'))) throw error;
  answer = error.answer ?? { result: 'refused', message: error.message };
}
console.log(JSON.stringify(answer));
