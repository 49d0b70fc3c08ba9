// What the adapters share: questions in, answers out, and the members of an archive.
//
//   node TOOL.mjs --serve               a question a line on standard input, an answer a line on standard output
//   node TOOL.mjs INPUT [KIND]          one question, one answer
import { createHash } from 'node:crypto';
import { readFileSync, statSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { inflateRawSync } from 'node:zlib';

// The tool has no way to take this input: no fault of it.
export class Unsupported extends Error {}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

// Standard output is for answers; tools greet and warn there.
console.log = console.info = console.debug = console.warn = console.error;

async function ask(handle, question) {
  try {
    return await handle(question);
  } catch (error) {
    if (error instanceof Unsupported) {
      return { result: 'unsupported', reason: error.message };
    }
    if (error instanceof WebAssembly.RuntimeError) {
      console.error(error); // the module is dead: a crash, not a refusal
      process.exit(70);
    }
    return { result: 'refused', message: `${error?.constructor?.name || error?.name || 'thrown'}: ${error?.message ?? error}`.slice(0, 300) };
  }
}

// All of the line, although a pipe takes less at once.
function say(answer) {
  let bytes = Buffer.from(`${JSON.stringify(answer)}\n`);
  while (bytes.length) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

export async function main(handle) {
  const words = process.argv.slice(2);
  if (!words.includes('--serve')) {
    say(await ask(handle, { input: words[0], kind: words[1] ?? 'read' }));
    return;
  }
  for await (const line of createInterface({ input: process.stdin })) {
    if (line.trim()) {
      const question = JSON.parse(line);
      say({ id: question.id, ...(await ask(handle, question)) });
    }
  }
  process.exit(0); // whatever timers a tool has left
}

// What the input is, as far as an adapter has to know to hand it to its tool.
export function form(input) {
  if (statSync(input).isDirectory()) return 'directory';
  if (/\.weights\.json$/.test(input)) return 'shards';
  if (/\.json$/.test(input)) return 'json';
  const start = readFileSync(input).subarray(0, 64).toString('latin1');
  if (start.startsWith('PK\x03\x04')) return 'zip';
  return start.trimStart().startsWith('{') ? 'json' : 'hdf5';
}

// One member of an archive, for tools that read HDF5 or JSON and no zip.  An archive that is not plain is not the tool's affair.
export function member(input, name) {
  const data = readFileSync(input);
  const end = data.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  if (end < 0) throw new Unsupported('the archive has no directory, and the tool reads no archives');
  try {
    let at = data.readUInt32LE(end + 16);
    for (let left = data.readUInt16LE(end + 10); left > 0; left--) {
      const [method, size, named, extra, comment] = [10, 20, 28, 30, 32].map((offset) =>
        offset === 20 ? data.readUInt32LE(at + 20) : data.readUInt16LE(at + offset),
      );
      if (data.toString('utf8', at + 46, at + 46 + named) === name && (method === 0 || method === 8)) {
        const local = data.readUInt32LE(at + 42);
        const start = local + 30 + data.readUInt16LE(local + 26) + data.readUInt16LE(local + 28);
        const stored = data.subarray(start, start + size);
        return method ? inflateRawSync(stored, { maxOutputLength: 1 << 28 }) : stored;
      }
      at += 46 + named + extra + comment;
    }
  } catch {
    throw new Unsupported('an archive that this adapter does not take apart, and the tool reads no archives');
  }
  throw new Unsupported(`no member ${name} that is stored or deflated, and the tool reads no archives`);
}

// Bytes in the other order.
export function swapped(bytes, size) {
  const found = Buffer.from(bytes);
  for (let at = 0; size > 1 && at + size <= found.length; at += size) found.subarray(at, at + size).reverse();
  return found;
}

// The name of a class as Keras writes it into a file.
export const snake = (name) =>
  name
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();

// Names for the members of one container: dense, dense_1, ...
export function counter() {
  const seen = new Map();
  return (name) => {
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    return count ? `${name}_${count}` : name;
  };
}
