/**
 * One question and one answer, `/weir/<name>/1.0`: one frame each way, on a stream of its own. It serves the few
 * questions about tags.
 */
import type { Connection, Stream } from '@libp2p/interface';
import { toError, WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Dialer } from './dialer.ts';
import { FrameStream, type OnAborted } from './frame-stream.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import { FIRST_FRAME_TIMEOUT, MAX_HANDLERS, MAX_REQUESTS_PER_CONNECTION, REQUEST_TIMEOUT } from './limits.ts';
import type { Libp2pNode } from './libp2p-node.ts';
import { peerError } from './peer-errors.ts';

/**
 * Answers one question with at most 64 KiB. The asker does not learn the error that it throws, and sees the stream
 * reset.
 * @param signal aborted when the asker is gone or has waited too long
 */
export type RequestHandler = (from: PeerId, bytes: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the whole request, with the dial. */
  readonly timeout?: number | undefined;
}

export function protocolOf(name: string): string {
  return `/weir/${name}/1.0`;
}

export class Requests {
  readonly #libp2p: Libp2pNode;
  readonly #dialer: Dialer;
  readonly #onAborted: OnAborted;

  constructor(libp2p: Libp2pNode, dialer: Dialer, onAborted: OnAborted) {
    this.#libp2p = libp2p;
    this.#dialer = dialer;
    this.#onAborted = onAborted;
  }

  /**
   * @throws WeirError `peer_unreachable`, `peer_refused` (it does not know this kind of question, or is banned),
   *   `peer_stalled`, `peer_cut` (it sends no answer), `peer_protocol`; the signal's reason
   */
  async ask(
    peer: PeerId,
    name: string,
    bytes: Uint8Array,
    { signal, timeout = REQUEST_TIMEOUT }: RequestOptions = {},
  ): Promise<Uint8Array> {
    const limit = AbortSignal.timeout(timeout);
    const both = signal === undefined ? limit : AbortSignal.any([signal, limit]);
    try {
      const connection = await this.#dialer.connect(peer, { signal: both });
      const stream = await connection.newStream(protocolOf(name), { signal: both });
      return await request(new FrameStream(stream), bytes, both);
    } catch (error) {
      if (limit.aborted && signal?.aborted !== true) {
        throw new WeirError('peer_stalled', `${name}: no answer within ${timeout} ms`, { cause: error });
      }
      throw peerError(error, `${name} of ${peer}`, 'peer_cut', signal);
    }
  }

  /** Answers questions of this kind from now on. */
  async handle(name: string, handler: RequestHandler): Promise<void> {
    let running = 0;
    const accept = async (stream: Stream, connection: Connection): Promise<void> => {
      const peer = weirPeerIdOf(connection.remotePeer);
      if (running >= MAX_HANDLERS || peer === undefined) {
        stream.abort(new WeirError('too_many_requests', `${running} ${name} requests are under way`));
        return;
      }
      running += 1;
      try {
        await this.#answer(new FrameStream(stream), peer, handler);
      } finally {
        running -= 1;
      }
    };
    await this.#libp2p.handle(protocolOf(name), accept, {
      maxInboundStreams: MAX_REQUESTS_PER_CONNECTION,
      maxOutboundStreams: MAX_REQUESTS_PER_CONNECTION,
    });
  }

  async #answer(frames: FrameStream, peer: PeerId, handler: RequestHandler): Promise<void> {
    const gone = new AbortController();
    frames.stream.addEventListener('close', () => gone.abort(new WeirError('aborted', 'the asker is gone')));
    try {
      const question = await frames.next(FIRST_FRAME_TIMEOUT);
      if (question === undefined) throw new WeirError('peer_protocol', 'a stream without a question');
      frames.send(await handler(peer, question, gone.signal));
      await frames.end();
    } catch (error) {
      frames.abort(toError(error));
      this.#onAborted(peer, error);
    }
  }
}

async function request(frames: FrameStream, bytes: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  try {
    frames.send(bytes);
    const answer = await frames.next(undefined, signal);
    if (answer === undefined) throw new WeirError('peer_cut', 'the stream ended before the answer');
    await frames.end();
    return answer;
  } catch (error) {
    frames.abort(toError(error));
    throw error;
  }
}
