// Remuda's driver for Node.js 18 and later: reads scripts from init on descriptor
// 3, runs them in the main context, reports how they ended. ../PROTOCOL.md has the
// wire. Node marks 3 close-on-exec at its start, so no child inherits it. What few
// runs ask for (messages and objects as records) is in driver_records.js.
'use strict';

const fs = require('fs');
const net = require('net');
const path = require('path');
const util = require('util');
const vm = require('vm');
const Module = require('module');
const { Writable } = require('stream');

const RECORDS = '@RECORDS@';
const CHANNEL = 3;
const RUN = 1, READY = 2, DONE = 3;
const WORKSPACE = '/workspace/';
const LIMIT = { text: 1 << 20, json: 8 << 20, rich: 12 << 20, message: 64 << 10, traceback: 256 << 10 };
const realExit = process.exit;

// The run under way: {final, name, settled, envBefore}. null between runs.
let current = null;
let runs = 0;

// Exit is thrown by process.exit in a run that must not end the interpreter.
class Exit {
  constructor(code) { this.code = code; }
}

// --- the channel ---

function frameOf(kind, fields) {
  const parts = [Buffer.alloc(5)];
  for (const field of fields) {
    const data = Buffer.isBuffer(field) ? field : Buffer.from(String(field));
    const size = Buffer.alloc(4);
    size.writeUInt32BE(data.length);
    parts.push(size, data);
  }
  const frame = Buffer.concat(parts);
  frame.writeUInt32BE(frame.length - 5);
  frame[4] = kind;
  return frame;
}

// stream is how frames are written while records are: {handle, WriteWrap} of node's
// own, whose one call takes a frame whole. An interrupt ends a script anywhere in
// JavaScript, also where it has just learned how much of a frame is written.
let stream = null;

// beginRecords makes the channel one that a writer waits for, as for a pipe.
function beginRecords() {
  try {
    const { WriteWrap } = process.binding('stream_wrap');
    if (socket._handle.setBlocking(true) === 0) stream = { handle: socket._handle, WriteWrap };
  } catch (e) {
    // a node without it: a frame is nearly always taken whole
  }
}

function endRecords() {
  stream.handle.setBlocking(false);
  stream = null;
}

function writeFrame(frame) {
  if (!stream) return writeAll(CHANNEL, frame);
  const req = new stream.WriteWrap();
  req.handle = stream.handle;
  req.oncomplete = () => {};
  req.buffer = frame;
  if (stream.handle.writeBuffer(req, frame) < 0) throw new Error('the channel is closed');
  return undefined;
}

// write sends a record.
function write(kind, fields) {
  try {
    writeFrame(frameOf(kind, fields));
  } catch (e) {
    // the script has closed the channel
  }
}

function send(kind, fields) {
  const frame = frameOf(kind, fields);
  try {
    writeFrame(frame);
  } catch (e) {
    process.reallyExit(Number(fields[1]) || 0); // the script has closed the channel: let the status speak
  }
}

function writeAll(fd, data) {
  for (let sent = 0; sent < data.length;) {
    try {
      sent += fs.writeSync(fd, data, sent);
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

let input = Buffer.alloc(0);

function receive(data) {
  input = input.length ? Buffer.concat([input, data]) : data;
  if (input.length < 5 || input.length < 5 + input.readUInt32BE(0)) return;
  const frame = input.subarray(0, 5 + input.readUInt32BE(0));
  input = input.subarray(frame.length);
  if (frame[4] !== RUN) realExit(0);
  const fields = [];
  for (let i = 5; i < frame.length;) {
    const end = i + 4 + frame.readUInt32BE(i);
    fields.push(frame.toString('utf8', i + 4, end));
    i = end;
  }
  const [flags, name, source] = fields.splice(0, 3);
  const take = (per) => {
    const list = fields.splice(0, fields.shift() * per);
    return per === 1 ? list : Array.from({ length: list.length / 2 }, (_, i) => [list[2 * i], list[2 * i + 1]]);
  };
  start(flags, name, source, take(1), take(2), take(2), fields);
}

// --- a run ---

function start(flags, name, source, args, env, parameters, more) {
  const run = { final: flags.includes('f'), name: name || '<script>', settled: false, envBefore: [] };
  current = run;
  for (const [k, v] of env) {
    run.envBefore.push([k, process.env[k]]);
    process.env[k] = v;
  }
  if (flags.includes('s') && runs > 0) freshStdin();
  runs++;
  try {
    if (flags.includes('e')) run.extras = extras(run, more);
    bind(parameters);
    let base = WORKSPACE + 'script.js';
    if (flags.includes('c')) {
      base = path.resolve(WORKSPACE, source);
      run.name = name || base;
      source = fs.readFileSync(base, 'utf8').replace(/^\uFEFF/, '');
    }
    process.argv = [process.execPath, run.name, ...args];
    run.base = base;
    asModule(base, flags.includes('c'));
    if (run.final) {
      process.removeListener('SIGINT', onInterrupt);
      socket.unref();
      const last = (code) => atExit(run, code, process.rawListeners('exit').slice(process.rawListeners('exit').indexOf(last) + 1));
      process.on('exit', last);
    }
    const value = base.endsWith('.mjs') ? import(base) : evaluate(source, run);
    if (util.types.isPromise(value)) {
      run.waits = true;
      value.then((v) => settle(run, undefined, v), (e) => settle(run, { error: e }));
    } else {
      settle(run, undefined, value);
    }
  } catch (e) {
    settle(run, { error: e });
  }
}

let makeExtras;

// extras is what a run wants besides its output, by driver_records.js.
function extras(run, fields) {
  if (!makeExtras) {
    const module = new Module(__filename);
    module._compile(RECORDS, __filename);
    makeExtras = module.exports;
  }
  run.driver = __filename;
  beginRecords();
  return makeExtras({ write, inspect }, run, fields);
}

function bind(parameters) {
  const values = parameters.map(([name, text]) => {
    if (!/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name)) {
      throw new TypeError(`parameter ${JSON.stringify(name)} is not a name that JavaScript allows: use letters, digits, $ and _`);
    }
    return [name, JSON.parse(text)];
  });
  for (const [name, value] of values) globalThis[name] = value;
}

function asModule(file, isFile) {
  const require = Module.createRequire(file);
  const module = { exports: {}, id: '.', filename: file, loaded: false, children: [], paths: [], require };
  require.main = module;
  Object.assign(globalThis, { require, module, exports: module.exports });
  if (isFile) Object.assign(globalThis, { __filename: file, __dirname: path.dirname(file) });
  else { delete globalThis.__filename; delete globalThis.__dirname; }
}

function freshStdin() {
  let stream;
  Object.defineProperty(process, 'stdin', {
    configurable: true,
    enumerable: true,
    get: () => (stream ??= fs.createReadStream(null, { fd: 0, autoClose: false })),
    set: (value) => { stream = value; },
  });
}

// freshOutput replaces stdout and stderr after a script was stopped anywhere, maybe
// in the middle of a write, which leaves a stream waiting for ever.
function freshOutput() {
  for (const [name, fd] of [['stdout', 1], ['stderr', 2]]) {
    const write = (chunk, encoding, done) => {
      writeAll(fd, Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk, encoding));
      done();
    };
    const stream = Object.assign(new Writable({ decodeStrings: false, write }), { fd, _isStdio: true, destroySoon() {} });
    Object.defineProperty(process, name, { configurable: true, enumerable: true, writable: true, value: stream });
    console[`_${name}`] = stream;
  }
}

// importFrom returns the import() of code in that file. A CommonJS module has one
// in every version of node. Its text names the file, because V8 would give equal
// texts the first one's import().
function importFrom(file) {
  const module = new Module(file);
  module._compile(`${JSON.stringify(file)}; module.exports = (...args) => import(args[0], args[1])`, file);
  return module.exports;
}

// Code of a vm.Script can import() from node 20.12 and 21.7 on, by this constant.
// Before that, and in the inspector of any version, it calls a function of ours.
const dynamicImport = vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER;
const SLOT = Symbol.for('remuda'), IMPORT = Symbol.for('remuda.import');
const TEXT_OR_IMPORT = /\/\/.*|\/\*[^]*?\*\/|'(?:\\[^]|[^'\\\n])*'|"(?:\\[^]|[^"\\\n])*"|`(?:\\[^]|[^`\\])*`|(?<![.\w$])import\s*\(/g;

function callImport(source, run) {
  globalThis[IMPORT] = importFrom(run.base);
  return source.replace(TEXT_OR_IMPORT, (m) => (m.startsWith('import') ? 'globalThis[Symbol.for("remuda.import")](' : m));
}

// evaluate runs a script in the main context and returns its completion value.
// What a plain script may not hold is tried in other forms: an `await`, and names
// that a later run may declare again, as the REPL would; a top-level `return` as a
// function's body.
function evaluate(source, run) {
  if (!run.final && /^(let|const|class)\b/m.test(source)) return evaluateREPL(source, run);
  const options = { filename: run.name, importModuleDynamically: dynamicImport };
  if (!dynamicImport && source.includes('import')) source = callImport(source, run);
  let script;
  try {
    script = new vm.Script(source, options);
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    if (/Illegal return/.test(e.message)) return evaluateFunction(source, options, e);
    if (/\bawait\b/.test(source)) return evaluateREPL(source, run);
    throw e;
  }
  return script.runInThisContext({ breakOnSigint: !run.final });
}

function evaluateFunction(source, options, original) {
  for (const head of ['(function () {', '(async function () {']) {
    try {
      return new vm.Script(`${head}${source}\n}).call(globalThis)`, { ...options, columnOffset: -head.length }).runInThisContext();
    } catch (e) {
      if (!(e instanceof SyntaxError) || !/await/.test(e.message)) throw e;
    }
  }
  throw original;
}

let session;

function evaluateREPL(source, run) {
  if (!session) {
    const { Session } = require('inspector');
    session = new Session();
    session.connect();
  }
  const post = (method, params) => new Promise((done, failed) => session.post(method, params, (e, r) => (e ? failed(e) : done(r))));
  const unwrap = async (r) => {
    if (!r.objectId) return 'unserializableValue' in r ? vm.runInThisContext(r.unserializableValue) : r.value;
    await post('Runtime.callFunctionOn', { objectId: r.objectId, functionDeclaration: 'function () { globalThis[Symbol.for("remuda")] = this; }' });
    const value = globalThis[SLOT];
    delete globalThis[SLOT];
    session.post('Runtime.releaseObject', { objectId: r.objectId });
    return value;
  };
  if (source.includes('import')) source = callImport(source, run);
  globalThis[SLOT] = () => post('Runtime.evaluate', { expression: `${source}\n//# sourceURL=${run.name}`, replMode: true, awaitPromise: true });
  const call = new vm.Script('globalThis[Symbol.for("remuda")]()', { filename: __filename });
  return call.runInThisContext({ breakOnSigint: !run.final }).then(async (r) => {
    if (!r.exceptionDetails) return unwrap(r.result);
    const e = await unwrap(r.exceptionDetails.exception);
    const options = { filename: run.name, importModuleDynamically: dynamicImport };
    if (e instanceof SyntaxError && /Illegal return/.test(e.message)) return evaluateFunction(source, options, e);
    if (e instanceof SyntaxError && !/await/.test(source)) new vm.Script(source, options); // throws it with its line
    throw e;
  });
}

// settle takes how the script ended; the first word counts.
function settle(run, failure, value) {
  if (run.settled) return;
  run.settled = true;
  if (run.extras && !failure) {
    try {
      value = run.extras.value(value);
    } catch (e) {
      failure = { error: e };
    }
  }
  run.failure = failure;
  run.value = value;
  if (failure?.error?.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED') freshOutput();
  if (!run.final) {
    report(run, process.exitCode ?? 0);
    process.exitCode = undefined;
    return;
  }
  // A last run ends as node itself does: when nothing is pending any more, or at
  // once after an uncaught error. atExit reports.
  if (failure) realExit.call(process, failure.error instanceof Exit ? failure.error.code : 1);
}

// atExit reports a last run. The script's own exit listeners came after ours, so
// we call them, and leave without giving node the chance to call them again.
function atExit(run, code, listeners) {
  if (!run.settled && run.waits && !run.exiting) {
    run.failure = { error: new Error('the script waits for something that can never happen: an await was not settled when nothing was left to do') };
    process.exitCode = 13;
  }
  run.exiting = true;
  for (const listener of listeners) {
    try {
      listener.call(process, code);
    } catch (e) {
      run.failure ??= { error: e };
    }
  }
  code = Number(process.exitCode ?? code) || (run.failure && !(run.failure.error instanceof Exit) ? 1 : 0);
  report(run, code);
  process.reallyExit(code);
}

function report(run, code) {
  current = null;
  for (const [k, v] of run.envBefore) {
    if (v === undefined) delete process.env[k];
    else process.env[k] = v;
  }
  let fields;
  try {
    fields = run.failure ? failed(run, run.failure.error, code) : code ? ['error', code, '', '', '', 'ExitStatus', `the script ended with status ${code}`, ''] : described(run.value);
  } catch (e) {
    fields = ['error', code || 1, '', '', '', 'Error', 'the value or the error could not be described', ''];
  }
  if (run.extras) run.extras.end(fields[5] === 'ExitStatus' ? '' : fields[5], fields[6]);
  send(DONE, fields);
  if (stream) endRecords();
}

// --- results ---

function failed(run, e, code) {
  if (e instanceof Exit) {
    return e.code ? ['error', e.code, '', '', '', 'ExitStatus', `the script ended with status ${e.code}`, ''] : ['ok', 0, '', '', '', '', '', ''];
  }
  const isError = util.types.isNativeError(e) || e instanceof Error;
  const type = isError ? String(e.name ?? 'Error') : typeof e;
  const message = isError ? String(e.message) : cut(inspect(e), LIMIT.message);
  const text = isError ? clean(inspect(e)) : `Uncaught ${inspect(e)}`;
  return ['error', code || 1, '', '', '', type, cut(message, LIMIT.message), cut(text, LIMIT.traceback)];
}

function inspect(value) {
  try {
    return util.inspect(value);
  } catch (e) {
    return `<util.inspect of this ${typeof value} failed>`;
  }
}

// clean removes the frames that are not the user's: those of node, and all from
// where we called the script.
function clean(stack) {
  let below = false;
  const user = (line) => {
    if (!/^\s+at /.test(line)) below = false;
    else if (line.includes(__filename) || line.includes('(node:inspector:')) below = true;
    else return !below && !/[( ]node:(vm|internal)[/:]/.test(line);
    return !below;
  };
  return stack.split('\n').filter(user).join('\n') + '\n';
}

function cut(text, limit) {
  if (text.length <= limit) return text;
  return `${text.slice(0, limit / 2)}\n... ${text.length - limit} characters cut ...\n${text.slice(-limit / 2)}`;
}

function described(value) {
  if (value === undefined) return ['ok', 0, '', '', '', '', '', ''];
  const text = typeof value === 'string' ? value : inspect(value);
  const fields = ['ok', 0, 'v', json(value), cut(text, LIMIT.text), '', '', ''];
  if (value !== null && typeof value === 'object') rich(value, fields);
  return fields;
}

// json is the strict JSON of a value, or '' when it has none.
function json(value) {
  if (value instanceof Map || value instanceof Set || value instanceof Error || typeof value === 'function') return '';
  try {
    const text = JSON.stringify(value, (_, v) => {
      if (typeof v === 'number' && !Number.isFinite(v)) throw new RangeError('not in JSON');
      return v;
    });
    return text !== undefined && text.length <= LIMIT.json ? text : '';
  } catch (e) {
    return '';
  }
}

const FORMS = { 'text/html': '_repr_html_', 'text/markdown': '_repr_markdown_', 'image/svg+xml': '_repr_svg_', 'image/png': '_repr_png_', 'image/jpeg': '_repr_jpeg_' };

function rich(value, fields) {
  let left = LIMIT.rich;
  for (const [media, method] of Object.entries(FORMS)) {
    try {
      if (typeof value[method] !== 'function') continue;
      const data = Buffer.from(value[method]()).toString('base64');
      left -= data.length;
      if (left < 0) return;
      fields.push(media, data);
    } catch (e) {
      continue; // a form that fails is no form
    }
  }
}

// --- the interpreter around the runs ---

function onInterrupt() {
  if (current && !current.final) settle(current, { error: new Error('interrupted') });
}

process.exit = function exit(code) {
  if (code !== undefined) process.exitCode = code;
  if (current?.final) {
    if (current.exiting) process.reallyExit(code); // called by an exit listener
    current.exiting = true;
    realExit.call(process, code);
  }
  throw new Exit(Number(process.exitCode ?? 0) & 0xff);
};

process.on('uncaughtException', (e) => {
  if (process.listenerCount('uncaughtException') > 1) return; // the script has its own
  if (!current) {
    if (!(e instanceof Exit)) process.stderr.write(`Uncaught ${clean(inspect(e))}`);
    process.exitCode = undefined;
    return;
  }
  if (current.settled) { // a last run whose callbacks go on
    current.failure = { error: e };
    realExit.call(process, 1);
  }
  settle(current, { error: e });
});

process.on('SIGINT', onInterrupt);

const socket = new net.Socket({ fd: CHANNEL, readable: true, writable: true });
socket.on('data', receive);
socket.on('end', () => realExit(0));
socket.on('error', () => realExit(0));
send(READY, [process.versions.node]);
