/** What an answer that a byte worker has received means for who asked. */
import { WeirError } from '../util/errors.ts';
import type { ChunkAnswer, ChunkFetch } from '../transfer/chunk-exchange.ts';
import type { ReceivedAnswer } from './chunk-receiver.ts';
import type { PeerEnd } from './peer-end.ts';

export function fromWorker(end: PeerEnd, answer: Exclude<ReceivedAnswer, { kind: 'failed' }>): ChunkAnswer {
  if (answer.kind !== 'chunk') return answer;
  const { bytes } = answer;
  if (bytes instanceof Uint8Array) return { ...answer, bytes };
  return { ...answer, bytes: { ...bytes, worker: end.thread.id }, release: () => giveBack(end, answer) };
}

/** Frees the memory of a chunk. Harmless if it was given back before. */
export function giveBack({ thread }: PeerEnd, answer: ReceivedAnswer): void {
  if (answer.kind !== 'chunk' || answer.bytes instanceof Uint8Array) return;
  thread.post('files', { kind: 'give', place: answer.bytes.place });
}

/** What makes this no answer to the request. */
export function problemOf({ range, owner }: ChunkFetch, answer: ReceivedAnswer): WeirError | undefined {
  if (answer.kind === 'chunk' && answer.size < (range?.end ?? 0)) {
    return new WeirError('peer_protocol', 'a chunk of a smaller blob');
  }
  if (answer.kind === 'redirect' && owner === undefined) {
    return new WeirError('peer_protocol', 'other holders, though no owner was asked');
  }
  return undefined;
}
