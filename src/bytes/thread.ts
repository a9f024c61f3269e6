/** The entry point of a byte worker's thread. */
import { parentPort } from 'node:worker_threads';
import { WeirError } from '../util/errors.ts';
import { ByteWorker } from './byte-worker.ts';

if (parentPort === null) throw new WeirError('internal', 'a byte worker runs in a thread of its own');
void new ByteWorker(parentPort);
