/**
 * Frames over a libp2p stream, read one after the other, with a time limit for each and little memory.
 *
 * The stream is paused while frames wait to be read, and bytes are cut into frames only when they are wanted. One
 * event can bring a whole window of the shortest frames, 256 Ki of them: as objects they would take 200 times the
 * memory.
 */
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface';
import { systemClock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import { ActiveTimer } from '../util/active-time.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { encodeFrame, FrameDecoder, MAX_FRAME_BYTES } from '../protocol/frames.ts';
import { FRAME_TIMEOUT } from './limits.ts';

/** Frames that wait to be read; above this the other side is told to pause. */
const MAX_WAITING = 16;

/** Told why a stream that this peer opened was aborted, and decides what follows for the peer. */
export type OnAborted = (peer: PeerId | undefined, error: unknown) => void;

export class FrameStream {
  readonly stream: Stream;
  readonly #decoder: FrameDecoder;
  /** Complete frames that wait: at most {@link MAX_WAITING}. */
  readonly #frames: Uint8Array[] = [];
  /** Bytes not yet cut into frames: at most what had come when the stream was paused. */
  readonly #chunks: Uint8Array[] = [];
  /** The decoder at work on the bytes before {@link #chunks}. */
  #cutting: Generator<Uint8Array, void> | undefined;
  /** The other side will send nothing more. */
  #ended = false;
  #failure: WeirError | undefined;
  #wake: (() => void) | undefined;
  /** Runs while a frame is incomplete. */
  #slow: NodeJS.Timeout | undefined;

  /** @param maxBytes longest frame allowed */
  constructor(stream: Stream, maxBytes: number = MAX_FRAME_BYTES) {
    this.stream = stream;
    this.#decoder = new FrameDecoder(maxBytes);
    // Without read-ahead, one event brings at most the stream's window.
    stream.addEventListener('message', this.#onMessage);
    stream.addEventListener('end', this.#onEnd);
    stream.addEventListener('close', this.#onClose);
    if (stream.readableEnded) this.#onEnd();
  }

  /** @throws libp2p's error if the stream was closed or reset */
  send(...frames: readonly Uint8Array[]): boolean {
    return this.stream.send(Buffer.concat(frames.map(encodeFrame)));
  }

  /**
   * The next frame; undefined if the other side ended the stream between two frames. After an error the stream is of
   * no use: {@link abort} it.
   * @param timeout milliseconds of active time (active-time.ts) until the frame must be complete; undefined waits as
   *   long as the stream lasts
   * @throws WeirError `peer_protocol`, `peer_cut`, `peer_stalled`; the signal's reason
   */
  async next(timeout: number | undefined, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const frame = this.#take();
    if (frame !== undefined) return frame;
    if (this.#ended && !this.#decoder.isBetweenFrames) {
      this.#fail(new WeirError('peer_protocol', 'the stream ended within a frame'));
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended) return undefined;
    await this.#arrival(timeout, signal);
    return this.next(timeout, signal);
  }

  /** Tells the other side that nothing more follows. */
  async end(): Promise<void> {
    try {
      await this.stream.close({ signal: AbortSignal.timeout(FRAME_TIMEOUT) });
    } catch (cause) {
      this.abort(new WeirError('peer_cut', 'the stream could not be closed', { cause }));
    }
  }

  abort(error: Error): void {
    this.#fail(isWeirError(error) ? error : new WeirError('peer_cut', error.message, { cause: error }));
    this.stream.abort(error);
  }

  #take(): Uint8Array | undefined {
    const frame = this.#frames.shift();
    if (this.#frames.length > 0 || this.#failure !== undefined) return frame;
    this.#cut();
    if (this.#frames.length === 0 && this.stream.readStatus === 'paused') this.stream.resume();
    return frame;
  }

  /** Cuts frames until enough of them wait. */
  #cut(): void {
    try {
      while (this.#frames.length < MAX_WAITING) {
        const cut = this.#cutting?.next();
        if (cut?.done === false) {
          this.#frames.push(cut.value);
          this.#stopWatch();
          continue;
        }
        const chunk = this.#chunks.shift();
        this.#cutting = chunk === undefined ? undefined : this.#decoder.push(chunk);
        if (chunk === undefined) break;
      }
      this.#watch();
    } catch (error) {
      this.#fail(error instanceof WeirError ? error : new WeirError('peer_protocol', String(error)));
    }
  }

  async #arrival(timeout: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => reject(signal?.reason);
    const time = timeout === undefined ? undefined : new ActiveTimer(systemClock, timeout, noFrame);
    // Waits one more turn: if this node was busy for long, the frame may already lie in the socket.
    const late = (): void => void setImmediate(() => reject(time?.signal.reason));
    time?.signal.addEventListener('abort', late, { once: true });
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#wake = resolve;
    try {
      await promise;
    } finally {
      this.#wake = undefined;
      time?.[Symbol.dispose]();
      signal?.removeEventListener('abort', onAbort);
    }
  }

  readonly #onMessage = ({ data }: StreamMessageEvent): void => {
    if (this.#failure !== undefined) return;
    for (const chunk of data instanceof Uint8Array ? [data] : data) this.#chunks.push(chunk);
    this.#cut();
    if (this.#frames.length === MAX_WAITING && this.stream.readStatus === 'readable') this.stream.pause();
    this.#wake?.();
  };

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#release();
  };

  readonly #onClose = ({ error }: StreamCloseEvent): void => {
    if (error !== undefined && !this.#ended) {
      this.#fail(new WeirError('peer_cut', 'the stream was reset', { cause: error }));
    }
    this.#ended = true;
    this.#release();
  };

  /** A peer that sends a byte now and then must not keep a frame and its memory for ever. */
  #watch(): void {
    if (this.#ended || this.#decoder.isBetweenFrames) return;
    const timer = (this.#slow ??= setTimeout(() => {
      setImmediate(() => {
        if (this.#slow !== timer) return; // it came in this same turn
        this.#fail(new WeirError('peer_protocol', `a frame took longer than ${FRAME_TIMEOUT} ms`));
      });
    }, FRAME_TIMEOUT));
  }

  #stopWatch(): void {
    clearTimeout(this.#slow);
    this.#slow = undefined;
  }

  #fail(failure: WeirError): void {
    this.#failure ??= failure;
    this.#frames.length = 0;
    this.#chunks.length = 0;
    this.#cutting = undefined;
    this.#release();
  }

  #release(): void {
    this.#stopWatch();
    this.#wake?.();
  }
}

function noFrame(limit: string): WeirError {
  return new WeirError('peer_stalled', `no frame within ${limit}`);
}
