/** The thread of watchdog.ts. */
import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';
import { keepInput } from './corpus.ts';

interface Watched {
  readonly state: Int32Array;
  readonly bytes: Uint8Array;
  readonly target: string;
  readonly folder: string;
  readonly hang: number;
}

const { state, bytes, target, folder, hang } = workerData as Watched;
let seen = 0;
setInterval(() => {
  const now = Atomics.load(state, 0);
  if (now !== 0 && now === seen) {
    const input = Buffer.from(bytes.slice(0, state[1]));
    const file = keepInput(folder, target, input);
    writeSync(2, `fuzz: ${target}: an input has not ended within ${hang} ms: ${file}\n`);
    process.kill(process.pid, 'SIGKILL');
  }
  seen = now;
}, hang);
