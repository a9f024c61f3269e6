import assert from 'node:assert/strict';
import { abortable } from '../../../src/util/async.ts';
import { Unhandled } from '../../support/faults.ts';

/** Long enough for Node.js to report an unhandled rejection. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe('abortable', () => {
  it('settles as the work does', async () => {
    const { signal } = new AbortController();
    assert.equal(await abortable(Promise.resolve(1), signal), 1);
    assert.equal(await abortable(Promise.resolve(2), undefined), 2);
    await assert.rejects(abortable(Promise.reject(new Error('it failed')), signal), /it failed/);
  });

  it('rejects with the reason, or an error made from it, if the signal is aborted first', async () => {
    const controller = new AbortController();
    const waiting = abortable(new Promise(() => undefined), controller.signal);
    const mapped = abortable(
      new Promise(() => undefined),
      controller.signal,
      ({ reason }) => new Error(`because of ${reason}`),
    );
    controller.abort('this');
    assert.equal(await waiting.catch((reason: unknown) => reason), 'this');
    await assert.rejects(mapped, /because of this/);
  });

  it('rejects if the signal is aborted already, even if the work has ended', async () => {
    const signal = AbortSignal.abort(new Error('too late'));
    await assert.rejects(abortable(new Promise(() => undefined), signal), /too late/);
    await assert.rejects(abortable(Promise.resolve(1), signal), /too late/);
  });

  it('leaves no unhandled rejection, whenever the signal is aborted', async () => {
    using unhandled = new Unhandled();
    for (const when of ['before', 'meanwhile', 'after']) {
      const controller = new AbortController();
      const { promise, reject } = Promise.withResolvers<void>();
      if (when === 'before') controller.abort();
      const waiting = abortable(promise, controller.signal).catch(() => undefined);
      if (when === 'meanwhile') controller.abort();
      await turn();
      reject(new Error('no waiter is left'));
      if (when === 'after') controller.abort();
      await waiting;
      await turn();
    }
    assert.deepEqual(unhandled.reasons, []);
  });

  it('leaves no listener on the signal', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>): void => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>): void => {
      listeners--;
      remove(...args);
    };
    await abortable(Promise.resolve(), signal);
    await assert.rejects(abortable(Promise.reject(new Error('it failed')), signal));
    assert.equal(listeners, 0);
  });
});
