/**
 * One connection to a member, in the byte worker that has its socket: cuts what comes into frames, receives the chunks that
 * this node asked for, and sends those that the member asked for. All other frames go to the main thread.
 *
 * ```
 * greeting ─► open ─► closed
 * ```
 *
 * Each side sends a hello first: the one that dialled at once, the other one as soon as the main thread has admitted it.
 * Before that nothing else is said or taken.
 */
import { KIB, SECOND } from '../util/clock.ts';
import { assertNever, errorMessage, isWeirError, WeirError } from '../util/errors.ts';
import { protocolError } from '../protocol/fields.ts';
import { encodeFrame, FrameReader, HEAD_BYTES, KIND, type FrameKind } from '../transfer/frames.ts';
import {
  decodeAnswer,
  decodeConcerning,
  decodeHello,
  encodeAnswer,
  encodeConcerning,
} from '../transfer/wire-codec.ts';
import { BodyQueue, type ServedOutcome } from './body-queue.ts';
import { ChunkReceiver } from './chunk-receiver.ts';
import type { PeerConnectionOptions } from './peer-connection-options.ts';
import type { ConnectionLimits } from './peer-limits.ts';
import type { ConnectionOrder } from './peers-messages.ts';
import { SendWindow } from './send-window.ts';
import { Silence } from './silence.ts';
import { SocketPause } from './socket-pause.ts';
import { toWireError } from './wire-error.ts';

/** Bytes of frames that wait for a peer that reads none: more than leaves at once over a new connection (peer-link.ts). */
const MAX_UNSENT = 512 * KIB;
/** Bytes of frames that wait for the main thread; above this nothing more is read. */
const MAX_UNTAKEN = 256 * KIB;

export class PeerConnection {
  readonly #options: PeerConnectionOptions;
  readonly #reader: FrameReader;
  readonly #receivers = new Map<number, ChunkReceiver>();
  /** The largest number of a request so far. */
  #lastRequest = -1;
  readonly #window: SendWindow;
  readonly #bodies: BodyQueue;
  readonly #pause: SocketPause;
  #limits: ConnectionLimits;
  #state: 'greeting' | 'greeted' | 'open' = 'greeting';
  #isRetired = false;
  #unsent = 0;
  #untaken = 0;
  readonly #silence: Silence;
  #error: WeirError | undefined;

  constructor(options: PeerConnectionOptions) {
    const { socket, places, buffers, clock } = options;
    this.#options = options;
    this.#limits = options.limits(options.isOtherZone);
    this.#reader = new FrameReader({
      frame: (kind, body) => this.#onFrame(kind, body),
      data: (id, bytes) => this.#onData(id, bytes),
    });
    this.#silence = new Silence(options.hasDialled);
    this.#pause = new SocketPause(socket, this.#limits.download, clock);
    this.#window = new SendWindow(
      (id) => this.#send(encodeFrame(KIND.mark, markOf(id))),
      () => clock.monotonic(),
    );
    this.#bodies = new BodyQueue({
      window: this.#window,
      send: (frame) => this.#send(frame),
      write: (frame) => this.#write(frame),
      buffers,
      places,
      limit: () => this.#limits.upload,
      onServed: (id, outcome) => this.#onServed(id, outcome),
    });
    socket.on('error', (error) => (this.#error ??= cut(errorMessage(error))));
    socket.once('close', () => this.#onClose());
    if (options.hasDialled) this.#send(options.hello);
  }

  do(order: ConnectionOrder): void {
    if (this.#error !== undefined && order.kind !== 'cut') return this.#refuse(order);
    switch (order.kind) {
      case 'dial':
        return; // done
      case 'admit':
        this.#state = 'open';
        this.#limits = this.#options.limits(order.isOtherZone);
        this.#pause.use(this.#limits.download);
        return this.#send(this.#options.hello);
      case 'cut':
        return this.close(new WeirError('aborted', 'the connection is not wanted any more'));
      case 'retire':
        this.#isRetired = true;
        return this.#closeIfDone();
      case 'write':
        return this.#say(order.frames);
      case 'request':
        return this.#request(order);
      case 'cancel':
        this.#receivers.get(order.id)?.cancel();
        this.#receivers.delete(order.id);
        this.#say(order.frame);
        return this.#closeIfDone();
      case 'serve':
        this.#silence.said();
        // It waits behind others: without a word, the peer would take this node for dead.
        if (!this.#bodies.isEmpty) this.#send(encodeFrame(KIND.acknowledged, encodeConcerning(order.id)));
        return this.#bodies.add(order.id, order);
      case 'unserve':
        return this.#bodies.stop(order.id);
      case 'taken':
        this.#untaken -= order.bytes;
        this.#pause.hold('main', this.#untaken > MAX_UNTAKEN);
        return;
      default:
        assertNever(order);
    }
  }

  /** It is closing: what is asked of it will not be done, and its end tells the rest. */
  #refuse(order: ConnectionOrder): void {
    if (order.kind === 'serve') this.#onServed(order.id, { sent: 0, isAnnounced: false, error: this.#error });
  }

  /** Takes bytes that have come, and keeps no reference to them. @returns false to pause the socket */
  read(bytes: Buffer): boolean {
    this.#silence.heard();
    try {
      this.#reader.push(bytes);
    } catch (error) {
      if (!isWeirError(error)) throw error;
      this.close(error);
      return false;
    }
    this.#pause.count(bytes.length);
    return !this.#pause.isPaused;
  }

  /** Closes it at once. */
  close(error: WeirError): void {
    this.#error ??= error;
    this.#reader.stop();
    this.#options.socket.destroy();
  }

  /** Tells how many bytes have come of each chunk. */
  report(): void {
    for (const [id, receiver] of this.#receivers) {
      const bytes = receiver.report();
      if (bytes > 0) this.#options.post({ kind: 'progressed', id, bytes });
    }
  }

  /** Called each second. */
  tick(): void {
    if (this.#error !== undefined) return;
    if (this.#window.waits > this.#options.readerTimeout) {
      return this.close(new WeirError('aborted', 'the peer took no byte for too long'));
    }
    const found = this.#silence.tick({
      isOpen: this.#state === 'open',
      isBusy: this.#receivers.size > 0 || !this.#bodies.isEmpty,
      isPaused: this.#pause.isPaused,
    });
    if (found === 'ping') this.#send(encodeFrame(KIND.ping));
    else if (found !== undefined) this.close(found);
  }

  #request({ id, frame, length }: Extract<ConnectionOrder, { kind: 'request' }>): void {
    const { post, places } = this.#options;
    const receiver = new ChunkReceiver(length, places, {
      acknowledged: () => post({ kind: 'acknowledged', id }),
      progressed: () => this.#options.onProgress(),
      answered: (answer, bytes) => {
        this.#receivers.delete(id);
        const content = answer.kind === 'chunk' ? answer.bytes : undefined;
        post({ kind: 'answered', id, bytes, answer }, content instanceof Uint8Array ? [content.buffer] : []);
      },
    });
    this.#receivers.set(id, receiver);
    this.#lastRequest = Math.max(this.#lastRequest, id);
    this.#say(frame);
  }

  #onFrame(kind: number, body: Buffer): void {
    if (this.#state !== 'open') return this.#onGreeting(kind, body);
    switch (kind as FrameKind) {
      case KIND.hello:
        throw protocolError('a second hello');
      case KIND.ping:
        return this.#send(encodeFrame(KIND.pong));
      case KIND.pong:
      case KIND.data:
        return;
      case KIND.answer: {
        const { id, answer } = decodeAnswer(body);
        if (this.#receiver(id)?.answer(answer) === true) this.#closeIfDone();
        return;
      }
      case KIND.acknowledged:
        this.#receiver(decodeConcerning(body))?.acknowledged();
        return;
      case KIND.mark:
        return this.#send(encodeFrame(KIND.returned, body));
      case KIND.returned:
        return this.#window.returned(body.readUInt32BE(0));
      case KIND.cancel:
        this.#bodies.stop(decodeConcerning(body));
        return this.#forward(KIND.cancel, body);
      case KIND.message:
      case KIND.request:
      case KIND.question:
      case KIND.reply:
      case KIND.order:
      case KIND.progress:
        return this.#forward(kind as FrameKind, body);
      default:
      // Of a later minor version.
    }
  }

  #onGreeting(kind: number, body: Buffer): void {
    const { hasDialled, post, onHello } = this.#options;
    if (kind !== KIND.hello || this.#state === 'greeted') throw protocolError('a frame before the greeting');
    const hello = decodeHello(body);
    this.#state = hasDialled ? 'open' : 'greeted';
    if (hasDialled) post({ kind: 'open', hello });
    else onHello?.(hello);
  }

  /** To the main thread. */
  #forward(frame: FrameKind, body: Buffer): void {
    this.#silence.said();
    this.#untaken += HEAD_BYTES + body.length;
    this.#options.post({ kind: 'frame', frame, body: new Uint8Array(body) });
    this.#pause.hold('main', this.#untaken > MAX_UNTAKEN);
  }

  #onData(id: number, bytes: Buffer): void {
    if (this.#state !== 'open') throw protocolError('data before the greeting');
    if (this.#receiver(id)?.data(bytes) === true) this.#closeIfDone();
  }

  /** Undefined for a request that was cancelled. */
  #receiver(id: number): ChunkReceiver | undefined {
    if (id > this.#lastRequest) throw protocolError('an answer to no request');
    return this.#receivers.get(id);
  }

  /** Sends what the main thread has to say. */
  #say(frames: Uint8Array): void {
    this.#silence.said();
    this.#send(frames);
  }

  #send(frames: Uint8Array): void {
    this.#unsent += frames.length;
    if (this.#unsent > MAX_UNSENT) return this.close(new WeirError('peer_stalled', 'the peer does not read'));
    this.#options.socket.write(frames, () => (this.#unsent -= frames.length));
  }

  #write(frame: Uint8Array): Promise<void> {
    const { socket, readerTimeout } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const timer = setTimeout(() => {
      const error = new WeirError('aborted', `the peer took no byte for ${readerTimeout / SECOND} s`);
      this.close(error);
      reject(error);
    }, readerTimeout);
    socket.write(frame, (error) => {
      clearTimeout(timer);
      if (error) reject(new WeirError('aborted', 'the peer closed the connection', { cause: error }));
      else resolve();
    });
    return promise;
  }

  #onServed(id: number, { sent, isAnnounced, error }: ServedOutcome): void {
    if (error !== undefined && this.#error === undefined) {
      // The announced bytes will not come. A chunk that is given up is not here any more, so this node has not failed.
      const kind = !isAnnounced && isWeirError(error, 'aborted') ? 'absent' : 'failed';
      this.#send(encodeFrame(KIND.answer, encodeAnswer(id, { kind })));
    }
    const failure = error === undefined ? undefined : toWireError(error);
    this.#options.post({ kind: 'served', id, sent, error: failure });
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (!this.#isRetired || this.#receivers.size > 0 || !this.#bodies.isEmpty) return;
    this.close(new WeirError('aborted', 'the member has moved'));
  }

  #onClose(): void {
    const error = (this.#error ??= cut('the peer closed the connection'));
    this.#reader.stop();
    this.#pause.stop();
    for (const receiver of this.#receivers.values()) receiver.cancel();
    this.#receivers.clear();
    this.#bodies.stopAll();
    this.#window.close(error);
    this.#options.onClosed();
    this.#options.post({ kind: 'closed', error: toWireError(error) });
  }
}

function markOf(id: number): Buffer {
  const body = Buffer.allocUnsafe(4);
  body.writeUInt32BE(id);
  return body;
}

function cut(message: string): WeirError {
  return new WeirError('peer_cut', message);
}
