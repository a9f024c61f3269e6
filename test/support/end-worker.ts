/** Loaded into a node (`--import`): at each SIGUSR2 one of its byte workers ends, as at a defect in native code. */
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type * as Threads from 'node:worker_threads';

const threads = createRequire(import.meta.url)('node:worker_threads') as { Worker: typeof Threads.Worker };
const isMain = (threads as unknown as typeof Threads).isMainThread;
const running: Threads.Worker[] = [];

if (isMain) {
  threads.Worker = class extends threads.Worker {
    constructor(...args: ConstructorParameters<typeof Threads.Worker>) {
      super(...args);
      running.push(this);
    }
  };
  syncBuiltinESMExports();
  process.on('SIGUSR2', () => void running.shift()?.terminate());
}
