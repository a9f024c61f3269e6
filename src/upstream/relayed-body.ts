/** The bytes of a blob for this thread, relayed by a byte worker. Only pass-through needs them here. */
import { toError } from '../util/errors.ts';
import type { StreamSink } from './blob-transport.ts';

interface Received {
  readonly bytes: Uint8Array;
  readonly taken: () => void;
}

export class RelayedBody implements AsyncIterable<Uint8Array> {
  readonly #readInto: (sink: StreamSink) => Promise<void>;
  readonly #leave: () => void;

  /** @param leave called if the reader leaves early */
  constructor(readInto: (sink: StreamSink) => Promise<void>, leave: () => void) {
    this.#readInto = readInto;
    this.#leave = leave;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const received: Received[] = [];
    let end: { readonly error?: Error } | undefined;
    let changed = Promise.withResolvers<void>();
    const change = (): void => {
      changed.resolve();
      changed = Promise.withResolvers();
    };
    const finish = (how: { readonly error?: Error }): void => {
      end = how;
      change();
    };
    const bytes = (each: Uint8Array, taken: () => void): void => {
      received.push({ bytes: each, taken });
      change();
    };
    this.#readInto({ kind: 'stream', bytes }).then(
      () => finish({}),
      (error: unknown) => finish({ error: toError(error) }),
    );
    try {
      for (;;) {
        const next = received.shift();
        if (next !== undefined) {
          yield next.bytes;
          next.taken();
        } else if (end === undefined) {
          await changed.promise;
        } else {
          if (end.error !== undefined) throw end.error;
          return;
        }
      }
    } finally {
      if (end === undefined) this.#leave();
    }
  }
}
