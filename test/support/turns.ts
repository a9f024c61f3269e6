/** Acts in the middle of asynchronous work: at a given turn of the queue of promises. */
import { promiseHooks } from 'node:v8';

/** Number of turns that `work` takes, in the whole process. */
export async function turnsOf(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  const stop = promiseHooks.onBefore(() => void turns++);
  try {
    await work();
  } finally {
    stop();
  }
  return turns;
}

/** Runs `work`, and calls `act` once, before its turn `at` (0: before it begins). */
export async function actAtTurn(at: number, act: () => void, work: () => Promise<unknown>): Promise<void> {
  if (at === 0) act();
  let turns = 0;
  const stop = promiseHooks.onBefore(() => {
    if (++turns === at) act();
  });
  try {
    await work();
  } finally {
    stop();
  }
}
