// The second part of the Node.js driver, compiled when a run first wants more than
// its output: messages and objects as records of their own, a value assigned to a
// name, names unbound. Its argument is what it needs of the first part.
//
// While a run has streams the methods of console write records, and they are put
// back after it; one that a script has kept does then what it always did.
'use strict';

const util = require('util');
const vm = require('vm');

const RECORD = 8;
const KIND = { info: 3, warn: 4, error: 5, debug: 6, trace: 7 };
const WARNING = 4, ERROR = 5, OBJECT = 8;
const MESSAGE_BYTES = 32 << 10, OBJECT_BYTES = 256 << 10;
const TEXT_CHARACTERS = 32 << 10; // of the text form of an object that is too large
const MOST_OBJECTS = 10000;
const CALL = Symbol.for('remuda.call');

module.exports = function extras({ write, inspect }, run, [letters, assign, count, ...names]) {
  const scratch = names.slice(0, Number(count));
  if (assign && !/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(assign)) {
    throw new TypeError(`${JSON.stringify(assign)} is not a name that JavaScript allows: use letters, digits, $ and _`);
  }
  let live = letters !== '';
  const streams = letters.includes('m');
  const places = [];

  function record(kind, data) {
    if (live) write(RECORD, [String(kind), data]);
  }

  function hook(name) {
    const before = console[name];
    if (typeof before !== 'function') return;
    const mine = {
      [name](...args) {
        if (!live) return before.apply(console, args);
        let text = util.format(...args);
        if (name === 'trace') text = stack(text, mine);
        record(KIND[name], cut(text));
        return undefined;
      },
    }[name];
    console[name] = mine;
    places.push([name, before, mine]);
  }

  // stack is the text of console.trace: where it was called.
  function stack(text, below) {
    const at = { name: 'Trace', message: text };
    Error.captureStackTrace(at, below);
    const lines = String(at.stack).split('\n').filter((line) => !line.includes(run.driver) && !/[( ]node:/.test(line));
    return lines.join('\n');
  }

  if (streams) Object.keys(KIND).forEach(hook);

  // objects lists the objects of a value, one more than are kept if there are more.
  // What a script's own generator does can be interrupted as the script could.
  function objects(value) {
    if (Array.isArray(value) || util.types.isSet(value)) return some(value);
    if (!util.types.isGeneratorObject(value) || typeof value.next !== 'function' || typeof value[Symbol.iterator] !== 'function') return [value];
    globalThis[CALL] = () => some(value);
    try {
      return new vm.Script('globalThis[Symbol.for("remuda.call")]()', { filename: run.driver }).runInThisContext({ breakOnSigint: !run.final });
    } finally {
      delete globalThis[CALL];
    }
  }

  return {
    // value takes what the script evaluates to and returns what is still to be told.
    value(value) {
      if (letters.includes('o') && value !== undefined) {
        const list = objects(value);
        for (const one of list.slice(0, MOST_OBJECTS)) record(OBJECT, form(one, inspect));
        if (list.length > MOST_OBJECTS && streams) record(WARNING, `${MOST_OBJECTS} objects were kept, and the rest was not`);
      }
      if (!assign) return value;
      globalThis[assign] = value;
      return undefined;
    },

    end(type, message) {
      if (streams && type) record(ERROR, cut(message ? `${type}: ${message}` : type));
      live = false;
      for (const [name, before, mine] of places) {
        if (console[name] === mine) console[name] = before;
      }
      for (const name of scratch) {
        if (!delete globalThis[name]) globalThis[name] = undefined;
      }
    },
  };
};

function some(values) {
  const list = [];
  for (const one of values) {
    if (list.push(one) > MOST_OBJECTS) break;
  }
  return list;
}

// cut is a message as bytes.
function cut(text) {
  let data = Buffer.from(text.slice(0, MESSAGE_BYTES));
  if (data.length <= MESSAGE_BYTES && text.length <= MESSAGE_BYTES) return data;
  let end = MESSAGE_BYTES - 4;
  while (end > 0 && (data[end] & 0xc0) === 0x80) end--; // not into a character
  return Buffer.concat([data.subarray(0, Math.min(end, data.length)), Buffer.from(' ...')]);
}

// form is the JSON text of an object: what it is, and its value to the first level.
function form(value, inspect) {
  const [name, ...bases] = classes(value);
  const head = `{"TypeName":${JSON.stringify(name)},"Interfaces":${JSON.stringify(bases)},"Value":`;
  let data;
  try {
    data = Buffer.from(`${head}${level(value, inspect)}}`);
  } catch (e) {
    data = null;
  }
  if (!data || data.length > OBJECT_BYTES) data = Buffer.from(`${head}${JSON.stringify(textForm(value, inspect))}}`);
  return data;
}

// classes are the name of a value's class and of those that it extends.
function classes(value) {
  if (value === null || value === undefined) return [String(value)];
  const names = [];
  try {
    for (let p = Object.getPrototypeOf(value); p && names.length < 20; p = Object.getPrototypeOf(p)) {
      const kind = Object.getOwnPropertyDescriptor(p, 'constructor')?.value;
      if (typeof kind !== 'function' || typeof kind.name !== 'string' || (kind === Object && names.length)) continue;
      names.push(kind.name.slice(0, 1000));
    }
  } catch (e) {
    // a proxy that refuses
  }
  return names.length ? names : ['Object'];
}

function textForm(value, inspect) {
  const text = typeof value === 'string' ? value : inspect(value);
  return text.length > TEXT_CHARACTERS ? `${text.slice(0, TEXT_CHARACTERS)} ...` : text;
}

// scalar is the JSON text of what is no structure, undefined for others.
function scalar(value) {
  switch (typeof value) {
    case 'undefined': return 'null';
    case 'boolean': return String(value);
    case 'string': return JSON.stringify(value);
    case 'number': return Number.isFinite(value) ? JSON.stringify(value) : undefined;
    default:
  }
  if (value === null) return 'null';
  if (util.types.isDate(value) && !Number.isNaN(Date.prototype.getTime.call(value))) return JSON.stringify(Date.prototype.toISOString.call(value));
  return undefined;
}

// level is the first level of a value in JSON.
function level(value, inspect) {
  const text = scalar(value);
  if (text !== undefined) return text;
  let left = OBJECT_BYTES;
  const leaf = (one) => {
    const part = scalar(one) ?? JSON.stringify(textForm(one, inspect));
    if ((left -= part.length) < 0) throw new RangeError('too large');
    return part;
  };
  const table = (pairs) => `{${pairs.map(([k, v]) => `${leaf(typeof k === 'string' ? k : inspect(k))}:${leaf(v)}`).join(',')}}`;
  if (Array.isArray(value) || util.types.isSet(value)) return `[${Array.from(value, leaf).join(',')}]`;
  if (util.types.isMap(value)) return table([...value]);
  if (typeof value === 'object' && !util.types.isNativeError(value) && !ArrayBuffer.isView(value)) {
    const own = Object.entries(value);
    if (own.length || [Object.prototype, null].includes(Object.getPrototypeOf(value))) return table(own);
  }
  return JSON.stringify(textForm(value, inspect));
}
