/** Sends a reading as the body of a response (http/body.ts says how). */
import { openBody as open, type Body } from '../http/body.ts';
import type { BufferPool } from '../http/buffer-pool.ts';
import type { Reading } from '../pull/reading.ts';
import type { Exchange } from './exchange.ts';

export interface BodyOptions {
  readonly start: number;
  /** First byte that is not sent. */
  readonly end: number;
  /** Milliseconds in which the client must take a buffer. */
  readonly clientTimeout: number;
  readonly pool: BufferPool;
}

export function openBody(
  exchange: Exchange,
  reading: Reading,
  options: BodyOptions,
  signal: AbortSignal,
): Promise<Body> {
  return open(
    exchange.response,
    {
      ...options,
      read: (target, position, until) => reading.read(target, position, { signal: until }),
      gone: exchange.gone,
      onSent: (bytes) => exchange.sent(bytes),
    },
    signal,
  );
}
