/** The part of a libp2p stream that FrameStream uses: bytes are received without a network. */
import type { Stream } from '@libp2p/interface';

export class FakeStream extends EventTarget {
  readStatus: 'readable' | 'paused' = 'readable';
  readonly readableEnded = false;

  get stream(): Stream {
    return this as unknown as Stream;
  }

  pause(): void {
    this.readStatus = 'paused';
  }

  resume(): void {
    this.readStatus = 'readable';
  }

  abort(): void {
    this.dispatchEvent(new Event('close'));
  }

  /** Receives bytes as one event. */
  receive(data: Uint8Array): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data }));
  }

  end(): void {
    this.dispatchEvent(new Event('end'));
  }

  reset(): void {
    this.dispatchEvent(Object.assign(new Event('close'), { error: new Error('reset') }));
  }
}
