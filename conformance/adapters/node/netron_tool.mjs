// Netron's parser as a reader, without its window: the path that a dropped file takes through ModelFactoryService.
//
// Netron shows layers and not inner paths, so the paths are made here from what it shows.  A tensor of a store keeps the key ("0"),
// and its node tells the group: by name in a bare `.weights.h5`, else by the class, counted as Netron itself counts.  Netron calls
// the older folder `layers` too; that is undone.  A tensor of a legacy file keeps its name below the layer.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { counter, form, main, sha256, snake, swapped, Unsupported } from './protocol.mjs';

const SOURCE = new URL('./vendor/netron/', import.meta.url);
const { ModelFactoryService } = await import(new URL('view.js', SOURCE));
const { BinaryStream } = await import(new URL('base.js', SOURCE));

const host = {
  require: (id) => import(new URL(`${id}.js`, SOURCE)),
  asset: (name) => readFile(new URL(name, SOURCE), 'utf-8'),
  event: () => {},
  exception: () => {},
  error: () => {},
};
const service = new ModelFactoryService(host);

function entries(folder, under = '') {
  return readdirSync(join(folder, under), { withFileTypes: true }).flatMap((it) => {
    const name = under ? `${under}/${it.name}` : it.name;
    const path = join(folder, name);
    return statSync(path).isDirectory() ? entries(folder, name) : [[name, new BinaryStream(readFileSync(path))]];
  });
}

// Netron goes by the name; a file that has no ending gets that of its content.
function named(input, is) {
  const name = basename(input);
  if (is === 'directory' || extname(name)) return name;
  if (is === 'zip') return `${name}.keras`;
  if (is === 'json') return `${name}.json`;
  const data = readFileSync(input);
  return data.includes('layer_names') || data.includes('model_weights') ? `${name}.h5` : `${name}.weights.h5`;
}

function context(input, kind, identifier) {
  return {
    ...host,
    identifier,
    stream: kind === 'directory' ? null : new BinaryStream(readFileSync(input)),
    entries: kind === 'directory' ? new Map(entries(input)) : new Map(),
    fetch: async () => {
      throw new Error('File not found.'); // a file stands alone
    },
  };
}

const SIZES = { boolean: 1, int8: 1, uint8: 1, int16: 2, uint16: 2, float16: 2, int32: 4, uint32: 4, float32: 4, int64: 8, uint64: 8, float64: 8 };
const NAMES = { boolean: 'bool' }; // Netron's names of dtypes are Keras's but for this

function described(tensor) {
  const { dataType, shape } = tensor.type;
  const found = { shape: Array.from(shape.dimensions, Number), dtype: NAMES[dataType] ?? dataType };
  const values = tensor.values;
  if (tensor.encoding !== '|' && SIZES[dataType]) {
    // An array without elements has no values in Netron.
    const bytes = values ?? (found.shape.includes(0) ? new Uint8Array(0) : null);
    if (bytes) found.sha256 = sha256(tensor.encoding === '>' ? swapped(bytes, SIZES[dataType]) : bytes);
  }
  return found;
}

const tensors = (node) =>
  node.inputs.flatMap((argument) => (Array.isArray(argument.value) ? argument.value : [])).flatMap((value) => value?.initializer ?? []);

// What a node shows, and what the nodes inside it show.
function* shown(graph, place, groupOf, seen) {
  for (const node of graph.nodes) {
    const inner = node.type?.nodes ? node.type : null;
    if (inner?.type === 'function') {
      // a layer that is called more than once is one function and many nodes
      if (!seen.has(inner)) {
        seen.add(inner);
        yield* shown(inner, place, groupOf, seen);
      }
      continue;
    }
    if (seen.has(inner)) continue;
    if (inner) seen.add(inner);
    const at = groupOf(place, node, inner);
    for (const one of [node, ...(node.inner ? [node.inner] : [])]) for (const tensor of tensors(one)) yield [at, tensor];
    if (inner) yield* shown(inner, { path: at, count: counter() }, groupOf, seen);
  }
}

await main(async ({ input, kind }) => {
  if (kind === 'tree' || kind === 'write') throw new Unsupported('Netron neither derives weights from a config nor writes');
  const is = form(input);
  if (is === 'shards') throw new Unsupported('Netron reads no sharded weights');
  const name = named(input, is);
  const model = await service.open(context(input, is, name));
  const weights = {};
  const bare = is === 'hdf5' && name.endsWith('.weights.h5') && !model.format.startsWith('Keras v');
  const legacy = is === 'hdf5' && !bare;
  const whole = /^Keras( v|$)/.test(model.format);
  const older = is !== 'directory' && readFileSync(input).includes('_layer_checkpoint_dependencies');
  const groupOf = (place, node, inner) => {
    if (bare) return node.name;
    if (legacy) return node.group ? node.group.split('/')[0] : node.name;
    return `${place.path ? `${place.path}/` : ''}layers/${place.count(snake(inner ? inner.description : node.type.name))}`;
  };
  for (const graph of model.modules) {
    for (const [at, tensor] of shown(graph, { path: '', count: counter() }, groupOf, new Set())) {
      const folder = tensor.name.split('/').slice(0, -1).join('/');
      let path = `${at}/vars/${tensor.name}`;
      // A node of a file of weights only is named after the layer and the folder, or the folder alone when that begins with the layer.
      if (model.format === 'HDF5 Weights') path = tensor.name.replace(/^\/+/, '');
      else if (legacy && whole) path = `model_weights/${at}/${tensor.name}`;
      else if (legacy) path = `${at === folder ? at.split('/')[0] : at.endsWith(`/${folder}`) ? at.slice(0, -folder.length - 1) : at}/${tensor.name}`;
      else if (older) path = path.replace(/(^|\/)layers\//g, '$1_layer_checkpoint_dependencies/');
      weights[path] = described(tensor);
    }
  }
  return { result: 'read', weights };
});
