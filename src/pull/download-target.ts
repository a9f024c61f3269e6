/** A pull together with peers, as a download sees it: the download lends its ingest, and is told of progress. */
import type { WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Ingest } from '../store/store.ts';
import type { Sends } from './sends.ts';
import type { Caller } from '../upstream/caller.ts';

/** A blob that is arriving. */
export interface ArrivingBlob {
  readonly ingest: Ingest;
  /** Bodies that are sent out of its file: it is closed after them. */
  readonly sends: Sends;
}

/** What a download lends to the peer source that fills it. */
export interface DownloadTarget extends ArrivingBlob {
  readonly signal: AbortSignal;
  /** All callers that wait for the blob now. */
  readonly callers: () => readonly Caller[];
  readonly progressed: () => void;
  /** Chunks have been written. */
  readonly changed: () => void;
}

/** Fills a blob from peers and upstream. */
export interface PeerSource {
  /** The blob's size in bytes. */
  readonly size: number;
  /** Whether peers are known that pull the blob too, or have it; false before {@link fetchInto}. */
  readonly hasPeers: boolean;
  /** This machine has no way to the registry: what is missing may come once it has one again. */
  readonly isCutOff: boolean;
  /** Bytes that came from each peer, and from upstream. */
  readonly byPeer: ReadonlyMap<PeerId, number>;
  readonly fromUpstream: number;
  /** Resolves when all chunks are there. @throws WeirError if neither peers nor upstream can bring them */
  fetchInto(target: DownloadTarget): Promise<void>;
  /** The whole digest is wrong: none of its bytes goes out any more, and the peers are told. */
  abandon(): void;
  /** The whole digest is right: peers that attested other hashes than `truth` has are found out. */
  judge(truth: Ingest): void;
  /** The blob was stored, or its pull was given up. */
  settle(kept: boolean, failure: WeirError | undefined): void;
}
