/** Byte workers for tests. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { ByteWorker } from '../../src/bytes/byte-worker.ts';
import { ByteWorkers } from '../../src/bytes/byte-workers.ts';
import { Files } from '../../src/bytes/files.ts';
import { Http } from '../../src/bytes/http.ts';

/** One worker in the thread of the test: it starts at once, and a debugger sees both sides. */
export function workersInside(): ByteWorkers {
  return new ByteWorkers({ count: 1, spawn: inside });
}

function inside(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  void new ByteWorker(port2);
  return port1;
}

interface Shared {
  readonly workers: ByteWorkers;
  readonly files: Files;
  readonly http: Http;
}

let shared: Shared | undefined;

/** One worker in the thread of the test, which all tests of the process share. */
function share(): Shared {
  if (shared === undefined) {
    const workers = workersInside();
    shared = { workers, files: new Files(workers), http: new Http(workers) };
  }
  return shared;
}

export function filesInside(): Files {
  return share().files;
}

export function httpInside(): Http {
  return share().http;
}

// A hook of all tests: otherwise the worker's port would keep the process alive when they are over. The fuzzer has no hooks,
// and ends its process itself.
if ('after' in globalThis) {
  after(async () => {
    await shared?.workers[Symbol.asyncDispose]();
  });
}
