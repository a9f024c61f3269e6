/**
 * The control stream from this node to one peer. It is opened for the first message and starts with the hello;
 * messages of one turn of the event loop leave in one write. It never makes its caller wait: if the peer does not
 * take messages in time, they are dropped and the peer is reported.
 */
import type { Stream } from '@libp2p/interface';
import { abortable } from '../util/async.ts';
import { toError, WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import { encodeSwarmMessage, type SwarmVersion } from '../protocol/codec.ts';
import { encodeFrame } from '../protocol/frames.ts';
import type { FrameStream } from './frame-stream.ts';
import { IDLE_STREAM, MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES } from './limits.ts';

/** A stream on which the hellos are exchanged. */
export interface OpenedStream {
  readonly frames: FrameStream;
  readonly version: SwarmVersion;
}

export interface ControlStreamEvents {
  /** Opens a stream, sends the hello and waits for the peer's. @throws WeirError `peer_*`; the signal's reason */
  open(peer: PeerId, signal: AbortSignal): Promise<OpenedStream>;
  /** The peer cannot be reached or takes nothing. All messages that waited for it are dropped. */
  failed(peer: PeerId, error: unknown): void;
  /** Milliseconds, never going back. */
  now(): number;
}

interface Waiting {
  readonly message: SwarmMessage;
  readonly version: SwarmVersion;
  readonly encoded: Uint8Array;
}

/** A stream that the peer resets sooner than this is not opened again, or opening and resetting would never end. */
const SHORTEST_STREAM = 1000;

export class ControlStream {
  readonly #peer: PeerId;
  readonly #events: ControlStreamEvents;
  readonly #stop: AbortController = new AbortController();
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #open: OpenedStream | undefined;
  #opening: Promise<void> | undefined;
  #flush: NodeJS.Immediate | undefined;
  #lastUsed: number;

  constructor(peer: PeerId, events: ControlStreamEvents) {
    this.#peer = peer;
    this.#events = events;
    this.#lastUsed = events.now();
  }

  /** Whether it was silent for so long that it may be closed. */
  get isIdle(): boolean {
    const isBusy = this.#opening !== undefined || this.#waiting.length > 0;
    return !isBusy && this.#events.now() - this.#lastUsed >= IDLE_STREAM;
  }

  send(message: SwarmMessage): void {
    this.#lastUsed = this.#events.now();
    const version = this.#open?.version ?? '1.1';
    const encoded = encodeSwarmMessage(message, version);
    this.#waiting.push({ message, version, encoded });
    this.#waitingBytes += encoded.length;
    if (this.#waiting.length > MAX_QUEUED_MESSAGES || this.#waitingBytes > MAX_QUEUED_BYTES) {
      this.#fail(new WeirError('peer_stalled', `${this.#peer} does not take what it is sent`));
    } else if (this.#open === undefined) {
      // #openNow reports the failure; send() has no caller that waits for it.
      this.#openNow().catch(() => undefined);
    } else {
      this.#schedule();
    }
  }

  /** Resolves when the peer knows this node's record. @throws WeirError `peer_*`; the signal's reason */
  async ready(signal: AbortSignal | undefined): Promise<void> {
    this.#lastUsed = this.#events.now();
    if (this.#open === undefined) await abortable(this.#openNow(), signal);
  }

  /** Closes the stream. The next message opens it again. */
  async close(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.frames.end();
  }

  /** Drops what waits, and sends nothing more. */
  destroy(reason: Error): void {
    this.#stop.abort(reason);
    clearImmediate(this.#flush);
    this.#open?.frames.abort(reason);
    this.#open = undefined;
    this.#drop();
  }

  #openNow(): Promise<void> {
    this.#opening ??= this.#begin().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #begin(): Promise<void> {
    try {
      const open = await this.#events.open(this.#peer, this.#stop.signal);
      this.#open = open;
      this.#watch(open.frames.stream);
      this.#schedule();
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#fail(error);
      throw error;
    }
  }

  #watch(stream: Stream): void {
    const openedAt = this.#events.now();
    stream.addEventListener('drain', () => this.#schedule());
    stream.addEventListener('close', ({ error }) => {
      if (this.#open?.frames.stream !== stream) return;
      this.#open = undefined;
      if (error === undefined || this.#stop.signal.aborted) return;
      // Opening it again shows whether the peer is gone, or only its stream.
      if (this.#events.now() - openedAt < SHORTEST_STREAM) this.#fail(error);
      else this.#openNow().catch(() => undefined);
    });
  }

  #schedule(): void {
    this.#flush ??= setImmediate(() => {
      this.#flush = undefined;
      this.#write();
    });
  }

  #write(): void {
    const open = this.#open;
    if (open === undefined || this.#waiting.length === 0 || open.frames.stream.writableNeedsDrain) return;
    const frames = this.#waiting.map(({ message, version, encoded }) =>
      encodeFrame(version === open.version ? encoded : encodeSwarmMessage(message, open.version)),
    );
    this.#drop();
    try {
      open.frames.stream.send(Buffer.concat(frames));
    } catch (error) {
      this.#fail(error); // closed in this very turn
    }
  }

  #fail(error: unknown): void {
    this.#drop();
    const open = this.#open;
    this.#open = undefined;
    open?.frames.abort(toError(error));
    this.#events.failed(this.#peer, error);
  }

  #drop(): void {
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}
