/** Content for tests. */
import { createCipheriv, createHash } from 'node:crypto';
import type { Blob, Ingest } from '../../src/store/store.ts';

/** `size` bytes that look random and are the same for the same seed. */
export function seededBytes(size: number, seed: number | string = 1): Buffer {
  const key = createHash('sha256').update(`seed ${seed}`).digest();
  return createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16)).update(Buffer.alloc(size));
}

/** All readable bytes from `position` on. */
export async function readAll(
  from: Pick<Blob | Ingest, 'read'>,
  position = 0,
  step = 100_000,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at = position; ;) {
    const buffer = Buffer.alloc(step);
    const length = await from.read(buffer, at);
    if (length === 0) return Buffer.concat(parts);
    parts.push(buffer.subarray(0, length));
    at += length;
  }
}
