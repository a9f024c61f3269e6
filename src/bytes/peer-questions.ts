/**
 * Questions between members whose asker waits for the reply, one frame each way: about tags (pull/tag-owners.ts), and orders
 * to preheat images, whose reply is the progress (preheat/preheat-orders.ts).
 */
import { toWeirError, WeirError, isWeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { encodeFrame, type FrameKind } from '../transfer/frames.ts';
import { decodeQuestion, decodeReply, encodeQuestion, encodeReply } from '../transfer/wire-codec.ts';
import type { PeerEnd } from './peer-end.ts';

/** Questions of one connection, and of all, that are being answered; more get no reply. */
const MAX_FROM_ONE = 16;
const MAX_IN_ALL = 128;
const MAX_ID = 2 ** 32;

/**
 * Answers one question. The asker does not learn the error that it throws.
 * @param signal aborted when the asker is gone
 * @throws WeirError `peer_protocol` for a question that breaks the protocol
 */
export type AnswerQuestion = (from: PeerId, question: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;

export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the whole, with the dial. */
  readonly timeout: number;
}

export interface PeerQuestionsOptions {
  /** The frames of a question and of its reply. */
  readonly question: FrameKind;
  readonly reply: FrameKind;
  readonly send: (peer: PeerId, frame: Uint8Array) => void;
  readonly answer: AnswerQuestion;
  /** The member has broken the protocol. */
  readonly onBroken: (end: PeerEnd, error: WeirError) => void;
}

interface Waiting {
  readonly peer: PeerId;
  readonly resolve: (reply: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

export class PeerQuestions {
  readonly #options: PeerQuestionsOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #answering = new Map<PeerEnd, number>();
  #answeringInAll = 0;
  #nextId = 0;

  constructor(options: PeerQuestionsOptions) {
    this.#options = options;
  }

  /** @throws WeirError `peer_unreachable`, `peer_stalled`, `peer_cut` (it has no reply); the signal's reason */
  async ask(peer: PeerId, question: Uint8Array, { signal, timeout }: AskOptions): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    const id = this.#nextId;
    this.#nextId = (id + 1) % MAX_ID;
    this.#waiting.set(id, { peer, resolve, reject });
    const late = new WeirError('peer_stalled', `no reply of ${peer} within ${timeout} ms`);
    const timer = setTimeout(() => reject(late), timeout);
    const onAbort = (): void => reject(signal?.reason as Error);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#options.send(peer, encodeFrame(this.#options.question, encodeQuestion({ id, bytes: question })));
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      this.#waiting.delete(id);
    }
  }

  /** Nothing more comes from the member over a connection that was there. */
  fail(peer: PeerId, error: WeirError): void {
    for (const waiting of this.#waiting.values()) if (waiting.peer === peer) waiting.reject(error);
  }

  /** @throws WeirError `peer_protocol` */
  onReply(peer: PeerId, body: Uint8Array): void {
    const { id, bytes } = decodeReply(body);
    const waiting = this.#waiting.get(id);
    if (waiting?.peer !== peer) return; // nobody waits for it any more
    if (bytes.length > 0) waiting.resolve(bytes);
    else waiting.reject(new WeirError('peer_cut', `${peer} has no reply`));
  }

  /** @throws WeirError `peer_protocol` */
  onQuestion(end: PeerEnd, peer: PeerId, body: Uint8Array): void {
    const { id, bytes } = decodeQuestion(body);
    void this.#answer(end, peer, id, bytes);
  }

  /** Never rejects. */
  async #answer(end: PeerEnd, peer: PeerId, id: number, question: Uint8Array): Promise<void> {
    const before = this.#answering.get(end) ?? 0;
    if (before >= MAX_FROM_ONE || this.#answeringInAll >= MAX_IN_ALL)
      return this.#reply(end, id, new Uint8Array());
    this.#answering.set(end, before + 1);
    this.#answeringInAll += 1;
    const gone = new AbortController();
    end.onClose((error) => gone.abort(error));
    try {
      this.#reply(end, id, await this.#options.answer(peer, question, gone.signal));
    } catch (error) {
      if (isWeirError(error, 'peer_protocol')) this.#options.onBroken(end, toWeirError(error));
      else this.#reply(end, id, new Uint8Array());
    } finally {
      this.#answeringInAll -= 1;
      const left = (this.#answering.get(end) ?? 1) - 1;
      if (left === 0) this.#answering.delete(end);
      else this.#answering.set(end, left);
    }
  }

  #reply(end: PeerEnd, id: number, bytes: Uint8Array): void {
    if (end.isOver) return;
    end.order({ kind: 'write', frames: encodeFrame(this.#options.reply, encodeReply({ id, bytes })) });
  }
}
