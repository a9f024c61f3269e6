/** Orders and members for the tests of src/preheat. */
import { HOUR } from '../../../src/util/clock.ts';
import { parseImageReference } from '../../../src/oci/reference.ts';
import { peerIdOf, type PeerId } from '../../../src/protocol/peer-id.ts';
import type { ImageProgress, PreheatOrder } from '../../../src/protocol/preheat-messages.ts';
import type { ChosenNode } from '../../../src/preheat/followed-order.ts';
import type { WantedImage } from '../../../src/preheat/image-pull.ts';

export const TOKEN: Uint8Array = Buffer.from('0123456789abcdef0123456789abcdef');

let orders = 0;

export function orderOf(images: readonly string[], more: Partial<PreheatOrder> = {}): PreheatOrder {
  orders += 1;
  return {
    id: orders.toString(16).padStart(32, '0'),
    images: images.map((image) => parseImageReference(image)),
    platform: undefined,
    starts: 0,
    expires: 6 * HOUR,
    keep: HOUR,
    ...more,
  };
}

/** As many as are wanted. */
function peerAt(index: number): PeerId {
  const key = Buffer.alloc(32, 7);
  key.writeUInt32BE(index);
  return peerIdOf(key);
}

export function nodesOf(count: number): readonly ChosenNode[] {
  return Array.from({ length: count }, (_, index) => ({
    peer: peerAt(index),
    name: `node-${index + 1}`,
    zone: index % 2 === 0 ? 'a' : 'b',
  }));
}

export const SELF: PeerId = peerAt(0);

export function progressOf(state: ImageProgress['state'], reason = ''): ImageProgress {
  return { state, reason, presentBytes: 0, size: 0 };
}

/** Pulls that the test ends. */
export class FakePulls {
  readonly wanted: WantedImage[] = [];
  readonly #ends: ((progress: ImageProgress) => void)[] = [];

  run(wanted: WantedImage): Promise<ImageProgress> {
    this.wanted.push(wanted);
    wanted.onProgress(progressOf('pulling'));
    const { promise, resolve } = Promise.withResolvers<ImageProgress>();
    this.#ends.push(resolve);
    const end = (): void => resolve(progressOf('failed', (wanted.signal.reason as Error).message));
    wanted.signal.addEventListener('abort', end);
    if (wanted.signal.aborted) end();
    return promise;
  }

  /** Ends the oldest pull that runs. */
  end(progress: ImageProgress = progressOf('done')): void {
    this.#ends.shift()?.(progress);
  }
}
