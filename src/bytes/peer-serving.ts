/** Serves the requests of members: lets the {@link ChunkSource} decide on each, and has a byte worker send what it gives. */
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import { SECOND, type Clock } from '../util/clock.ts';
import { protocolError } from '../protocol/fields.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkFetch, ChunkSource, ServedChunk } from '../transfer/chunk-exchange.ts';
import { encodeFrame, KIND } from '../transfer/frames.ts';
import { LIMITS } from '../transfer/limits.ts';
import { decodeRequest, encodeAnswer, encodeConcerning, type AnswerHead } from '../transfer/wire-codec.ts';
import type { PeerEnd } from './peer-end.ts';
import type { ServedPart } from './peers-messages.ts';
import { sentPart } from './sent-part.ts';

/** Requests of one connection at a time: a member may ask for more before it knows that its last ones are answered. */
const MAX_SERVING = 2 * LIMITS.requests;

type Chunk = Extract<ServedChunk, { kind: 'chunk' }>;

/** Report of one request that was answered, or cut. */
export interface ServedReport {
  readonly peer: PeerId;
  readonly kind: ServedChunk['kind'] | 'failed';
  /** Bytes of the chunk that were handed to the connection. */
  readonly bytes: number;
  readonly seconds: number;
  /** The reason why the answer was not sent to its end. */
  readonly error: WeirError | undefined;
}

export interface PeerServingOptions {
  readonly source: ChunkSource;
  readonly isBanned: (peer: PeerId) => boolean;
  readonly clock: Clock;
  readonly onServed: (report: ServedReport) => void;
  /** It asks for too much at a time, and is cut off. */
  readonly onFlooded: (end: PeerEnd) => void;
}

interface Outcome {
  kind: ServedReport['kind'];
  bytes: number;
}

export class PeerServing {
  readonly #options: PeerServingOptions;

  constructor(options: PeerServingOptions) {
    this.#options = options;
  }

  /** @throws WeirError `peer_protocol` */
  request(end: PeerEnd, peer: PeerId, body: Uint8Array): void {
    const { id, request } = decodeRequest(body);
    if (id <= end.lastRequest) throw protocolError('a request with the number of another one');
    end.lastRequest = id;
    if (end.serving.size >= MAX_SERVING) return this.#options.onFlooded(end);
    void this.#serve(end, peer, id, request);
  }

  /** The asker does not want the answer any more. */
  cancel(end: PeerEnd, id: number): void {
    end.serving.get(id)?.gone.abort(new WeirError('aborted', 'the peer does not want it any more'));
  }

  /** Never rejects. */
  async #serve(end: PeerEnd, peer: PeerId, id: number, request: ChunkFetch): Promise<void> {
    const { clock, onServed } = this.#options;
    const began = clock.monotonic();
    const gone = new AbortController();
    const { promise, resolve } = Promise.withResolvers<{ sent: number; error: Error | undefined }>();
    end.serving.set(id, { gone, done: (sent, error) => resolve({ sent, error }) });
    const outcome: Outcome = { kind: 'failed', bytes: 0 };
    let failure: WeirError | undefined;
    try {
      await this.#answer(end, peer, { id, request, gone: gone.signal, sent: promise }, outcome);
    } catch (error) {
      failure = toWeirError(error);
    } finally {
      end.serving.delete(id);
      end.forgetIfDone();
    }
    const seconds = (clock.monotonic() - began) / SECOND;
    onServed({ peer, ...outcome, seconds, error: failure });
  }

  async #answer(
    end: PeerEnd,
    peer: PeerId,
    { id, request, gone, sent }: Asked,
    outcome: Outcome,
  ): Promise<void> {
    let served: ServedChunk;
    try {
      served = await this.#options.source.serve(peer, request, () => acknowledge(end, id, gone), gone);
    } catch (error) {
      // A chunk whose pull is given up is not here any more: this node has not failed.
      if (!gone.aborted) refuse(end, id, { kind: isWeirError(error, 'aborted') ? 'absent' : 'failed' });
      throw error;
    }
    outcome.kind = served.kind;
    if (served.kind !== 'chunk') return refuse(end, id, served);
    let isSent = false;
    try {
      gone.throwIfAborted();
      const problem = this.#problemOf(peer, request, served);
      if (problem !== undefined) {
        refuse(end, id, { kind: 'failed' }); // without an answer, the asker would wait
        throw problem;
      }
      outcome.bytes = await send(end, id, served, { gone, sent });
      isSent = true;
    } catch (error) {
      if (isWeirError(error, 'store_corrupt')) await served.corrupt?.();
      throw error;
    } finally {
      served.close(isSent);
    }
  }

  /** The reason why the chunk must not be sent. */
  #problemOf(peer: PeerId, { range }: ChunkFetch, { start, end, size }: Chunk): WeirError | undefined {
    if (this.#options.isBanned(peer)) return new WeirError('peer_refused', `${peer} is banned`);
    const fits =
      range === undefined
        ? start === 0 && end === size && size > 0 && size <= LIMITS.whole
        : start === range.start && end === range.end && end <= size;
    if (fits) return undefined;
    return new WeirError('internal', `bytes ${start} to ${end} of ${size} are not the requested ones`);
  }
}

interface Asked {
  readonly id: number;
  readonly request: ChunkFetch;
  readonly gone: AbortSignal;
  /** Settles when nothing of the chunk is read any more. */
  readonly sent: Promise<{ readonly sent: number; readonly error: Error | undefined }>;
}

/** @returns the bytes that were sent @throws WeirError `aborted`, `store_corrupt`, `worker_lost` */
async function send(
  end: PeerEnd,
  id: number,
  chunk: Chunk,
  { gone, sent }: Pick<Asked, 'gone' | 'sent'>,
): Promise<number> {
  const { stop } = chunk;
  const onStop = (): void => end.order({ kind: 'unserve', id });
  const signals = stop === undefined ? [gone] : [gone, stop];
  end.order({ kind: 'serve', id, ...partOf(id, chunk) });
  if (stop?.aborted === true) onStop();
  for (const signal of signals) signal.addEventListener('abort', onStop, { once: true });
  try {
    const { sent: bytes, error } = await sent;
    if (error !== undefined) throw error;
    return bytes;
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', onStop);
  }
}

function partOf(id: number, { size, attestation, body, start, end, presentIn }: Chunk): ServedPart {
  const head = encodeFrame(KIND.answer, encodeAnswer(id, { kind: 'chunk', size, attestation }));
  // A message would copy all of the memory that the bytes are a part of.
  if (body instanceof Uint8Array) {
    const content = new Uint8Array(body.subarray(start, end));
    return { head, content, start: 0, end: content.length, generation: 0, isPresent: true };
  }
  return { head, ...sentPart(body, start, end, presentIn) };
}

function refuse(end: PeerEnd, id: number, answer: Exclude<AnswerHead, { kind: 'chunk' }>): void {
  if (!end.isOver) end.order({ kind: 'write', frames: encodeFrame(KIND.answer, encodeAnswer(id, answer)) });
}

function acknowledge(end: PeerEnd, id: number, gone: AbortSignal): void {
  if (gone.aborted || end.isOver) return;
  end.order({ kind: 'write', frames: encodeFrame(KIND.acknowledged, encodeConcerning(id)) });
}
