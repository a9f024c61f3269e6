/** Acts in the middle of asynchronous work: at a given turn of the microtask queue. */
import { promiseHooks } from 'node:v8';

/** Turns that `work` takes, in this process as a whole. */
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
