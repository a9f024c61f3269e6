/**
 * What things cost a node in CPU time, as the bench measured them on one machine. A node with `--cores` is charged for them
 * (processors.ts).
 *
 * Connections and messages: `bench control`, half of both ends. A message of the peer wire passes the main thread and a worker
 * of either side. Main threads and senders: `bench node --only late`, with TLS.
 * A receiver's bytes: the same with `--late-size 320MiB`, where memory is warm, parted by `bench transfer` and by the hash of a
 * chunk (0.53 CPU s per GiB). Bodies from the registry: the first pull of the late node's image.
 */

/** The machine: AMD EPYC, 2 cores with SHA and AES instructions, Linux 6.18, Node.js 26.10, 2026-11-30. */
export interface Costs {
  /** Milliseconds of the main thread of either side. */
  readonly main: {
    /** A message, and each further one that leaves and comes together with it. */
    readonly message: number;
    readonly further: number;
    /** A chunk from a peer, for who asks and for who answers; a request that is refused costs as much. */
    readonly request: number;
    readonly answer: number;
    /** A chunk from the registry. */
    readonly upstream: number;
  };
  /** Milliseconds of a byte worker. */
  readonly workers: {
    /** A mutual TLS 1.3 connection, for either side. */
    readonly handshake: number;
    /** A message, or several that leave together. */
    readonly message: number;
    /** For a MiB: sent to a peer; received and hashed, from a peer and from the registry; written, hashed into the blob, and handed to the runtime. */
    readonly send: number;
    readonly receive: number;
    readonly upstream: number;
    readonly store: number;
  };
}

export const COSTS: Costs = {
  main: { message: 0.012, further: 0.002, request: 0.39, answer: 0.29, upstream: 0.13 },
  workers: { handshake: 0.6, message: 0.025, send: 0.6, receive: 0.95, upstream: 0.8, store: 1.25 },
};
