/** What a client would receive of a blob, without a connection: sent as a byte worker sends it. */
import { BodyBuffers } from '../../src/bytes/body-buffers.ts';
import { BodySender } from '../../src/bytes/body-sender.ts';
import { ChunkPlaces } from '../../src/bytes/chunk-places.ts';
import { sentPart } from '../../src/bytes/sent-part.ts';
import type { SendOptions } from '../../src/http/exchange.ts';
import type { BlobReader, BodyTarget } from '../../src/pull/blob-reader.ts';
import type { Content } from '../../src/util/content.ts';

const BUFFERS = new BodyBuffers();
const PLACES = new ChunkPlaces();

export class BodyCollector implements BodyTarget {
  readonly gone: AbortSignal;
  readonly #parts: Buffer[] = [];
  bytesSent = 0;

  constructor(gone: AbortSignal = new AbortController().signal) {
    this.gone = gone;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }

  async send(content: Content, start: number, end: number, options: SendOptions = {}): Promise<number> {
    this.gone.throwIfAborted();
    const sender = new BodySender(sentPart(content, start, end, undefined), {
      write: (bytes) => this.#take(bytes),
      onWaiting: (position) => options.onWaiting?.(position),
      buffers: BUFFERS,
      places: PLACES,
    });
    const stop = (): void => sender.stop();
    const signals = options.stop === undefined ? [this.gone] : [this.gone, options.stop];
    for (const signal of signals) signal.addEventListener('abort', stop, { once: true });
    try {
      if (options.stop?.aborted === true) return start;
      await sender.run();
    } finally {
      for (const signal of signals) signal.removeEventListener('abort', stop);
    }
    if (sender.position < end) this.gone.throwIfAborted();
    return sender.position;
  }

  #take(bytes: Uint8Array): Promise<void> {
    this.#parts.push(Buffer.from(bytes)); // a copy: the memory is used again
    this.bytesSent += bytes.length;
    return Promise.resolve();
  }
}

/** All bytes of the blob from `position` on, taken in steps of so many bytes. */
export async function readBody(
  reader: BlobReader,
  {
    position = 0,
    step = reader.size,
    signal,
  }: { position?: number; step?: number; signal?: AbortSignal } = {},
): Promise<Buffer> {
  const collector = new BodyCollector(signal);
  await reader.ready(position, signal);
  for (let at = position; at < reader.size; at += step) {
    await reader.sendTo(collector, at, Math.min(at + step, reader.size));
  }
  await reader.ready(reader.size, signal);
  return collector.bytes;
}
