// remuda run examples/workers.js
// Compresses in worker threads; the sandbox counts threads against its limit of processes.
const { Worker } = require("worker_threads");

function squeeze(text) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(
      `const { workerData, parentPort } = require("worker_threads");
       parentPort.postMessage(require("zlib").gzipSync(workerData).length);`,
      { eval: true, workerData: text },
    );
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

(async () => {
  const texts = ["horse ".repeat(10000), "saddle ".repeat(20000)];
  const sizes = await Promise.all(texts.map(squeeze));
  sizes.forEach((size, i) => console.log(`${texts[i].length} bytes became ${size}`));
})();
