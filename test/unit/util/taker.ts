/** A thread of token-bucket.test.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../../../src/util/clock.ts';
import { TokenBucket } from '../../../src/util/token-bucket.ts';

interface Task {
  readonly call: 'take' | 'tell';
  readonly memory: SharedArrayBuffer;
  /** How often 1000 bytes are taken. */
  readonly times: number;
}

const { call, memory, times } = workerData as Task;
if (call === 'take') {
  const bucket = new TokenBucket(memory, systemClock);
  for (let i = 0; i < times; i++) bucket.reserve(1000);
}
// eslint-disable-next-line unicorn/require-post-message-target-origin -- a MessagePort has none
parentPort?.postMessage(systemClock.monotonic());
