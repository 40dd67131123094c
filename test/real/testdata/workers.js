// Compresses each chunk of the text in a worker thread, decompresses all of it here and prints digests.
const { Worker } = require('node:worker_threads');
const zlib = require('node:zlib');
const crypto = require('node:crypto');
const { once } = require('node:events');

const chunks = 8;
const code = `
const { parentPort, workerData } = require('node:worker_threads');
const zlib = require('node:zlib');
parentPort.postMessage(zlib.brotliCompressSync(zlib.gzipSync(workerData)));
`;

function text(n) {
  let s = '';
  for (let i = 0; i < 4000; i++) s += `${n}:${(i * 2654435761) % 1000003}\n`;
  return Buffer.from(s);
}

async function main() {
  const plain = Array.from({ length: chunks }, (_, n) => text(n));
  const packed = await Promise.all(plain.map(async (data) => {
    const worker = new Worker(code, { eval: true, workerData: data });
    const [message] = await once(worker, 'message');
    await worker.terminate();
    return Buffer.from(message);
  }));
  const unpacked = packed.map((data) => zlib.gunzipSync(zlib.brotliDecompressSync(data)));
  const sha = (list) => crypto.createHash('sha256').update(Buffer.concat(list)).digest('hex');
  const small = packed.reduce((n, p) => n + p.length, 0) < plain.reduce((n, p) => n + p.length, 0) / 2;
  console.log(JSON.stringify({ same: sha(plain) === sha(unpacked), small, sha: sha(unpacked), crc: zlib.crc32 ? zlib.crc32(Buffer.concat(unpacked)) : null }));
}

main().catch((err) => { console.error(err); process.exit(1); });
