/**
 * Sends the chunks that a peer has asked for over its connection, one after the other: the first one is whole soonest that
 * way. Other frames go between the data frames, and a window keeps few bytes on the way, so that those need not wait long.
 */
import { WeirError } from '../util/errors.ts';
import { STEP_BYTES, type RateLimit } from '../util/token-bucket.ts';
import { dataHead } from '../transfer/frames.ts';
import { HEADROOM, type BodyBuffers } from './body-buffers.ts';
import { BodySender } from './body-sender.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import type { ServedPart } from './peers-messages.ts';
import type { SendWindow } from './send-window.ts';

const GIVEN_UP = 'the blob turned out wrong, or its pull was given up';

export interface BodyQueueOptions {
  /** Sends a frame, without waiting for that. */
  readonly send: (frame: Uint8Array) => void;
  /** Sends a data frame; settles when it has left for the kernel. @throws WeirError `aborted` */
  readonly write: (frame: Uint8Array) => Promise<void>;
  readonly window: SendWindow;
  readonly buffers: BodyBuffers;
  readonly places: ChunkPlaces;
  /** Asked anew for each body: until the member is admitted, it is not known. */
  readonly limit: () => RateLimit;
  /** Nothing of the chunk is read any more. */
  readonly onServed: (id: number, outcome: ServedOutcome) => void;
}

export interface ServedOutcome {
  /** Bytes. */
  readonly sent: number;
  /** The peer has been told that it gets the chunk. */
  readonly isAnnounced: boolean;
  /** Set if not all of it was sent. */
  readonly error: unknown;
}

interface Body {
  readonly id: number;
  readonly part: ServedPart;
  sender: BodySender | undefined;
  isStopped: boolean;
  isAnnounced: boolean;
  sent: number;
}

export class BodyQueue {
  readonly #options: BodyQueueOptions;
  readonly #bodies: Body[] = [];
  #isRunning = false;

  constructor(options: BodyQueueOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#bodies.length === 0;
  }

  add(id: number, part: ServedPart): void {
    this.#bodies.push({ id, part, sender: undefined, isStopped: false, isAnnounced: false, sent: 0 });
    if (!this.#isRunning) void this.#run();
  }

  /** Ends the sending of this chunk at the next buffer. */
  stop(id: number): void {
    for (const body of this.#bodies) if (body.id === id) stop(body);
  }

  stopAll(): void {
    for (const body of this.#bodies) stop(body);
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    for (let body = this.#bodies[0]; body !== undefined; body = this.#bodies[0]) {
      let error: unknown;
      try {
        await this.#send(body);
        // Bytes of a second fetch must not go out with attestations of the first one's chunks.
        if (body.sent < body.part.end - body.part.start) throw new WeirError('aborted', GIVEN_UP);
      } catch (thrown) {
        error = thrown;
      }
      this.#bodies.shift();
      this.#options.window.mark();
      const { id, sent, isAnnounced } = body;
      this.#options.onServed(id, { sent, isAnnounced, error });
    }
    this.#isRunning = false;
  }

  async #send(body: Body): Promise<void> {
    const { part, id } = body;
    if (body.isStopped) return;
    const { buffers, places, window } = this.#options;
    const limit = this.#options.limit();
    const write = async (frame: Uint8Array): Promise<void> => {
      await window.take(frame.length);
      if (body.isStopped) return;
      // With the first bytes, and not before: if these cannot be read, nothing has been sent.
      if (!body.isAnnounced) this.#options.send(part.head);
      body.isAnnounced = true;
      body.sent += frame.length - HEADROOM;
      await this.#options.write(frame);
      window.sent(frame.length);
    };
    const { content } = part;
    if (content instanceof Uint8Array) {
      for (let at = part.start; at < part.end; at += STEP_BYTES) {
        const bytes = content.subarray(at, Math.min(at + STEP_BYTES, part.end));
        await limit.take(bytes.length);
        if (body.isStopped) return;
        await write(Buffer.concat([dataHead(id, bytes.length), bytes]));
      }
      return;
    }
    const sender = new BodySender(
      { ...part, content },
      {
        buffers,
        places,
        limit,
        step: () => window.step,
        write: (bytes) => write(withHead(id, bytes)),
        onWaiting: () => undefined,
      },
    );
    body.sender = sender;
    if (body.isStopped) sender.stop();
    await sender.run();
  }
}

function stop(body: Body): void {
  body.isStopped = true;
  body.sender?.stop();
}

/** The bytes of a buffer with the head of their frame, for which there is room before them. */
function withHead(id: number, bytes: Uint8Array): Uint8Array {
  const head = dataHead(id, bytes.length);
  const framed = new Uint8Array(bytes.buffer, bytes.byteOffset - HEADROOM, HEADROOM + bytes.length);
  framed.set(head);
  return framed;
}
