/** What a pull is to do, and what it tells (pull.ts). */

export interface PullWish {
  /** `127.0.0.1:PORT`; undefined: without a mirror. */
  readonly mirror?: string;
  /** `HOST:PORT`; it is asked where the mirror has nothing. */
  readonly registry: string;
  readonly repository: string;
  /** Blobs at a time. */
  readonly parallel: number;
  /** The registry is in the path, and nobody else is asked, as podman does. */
  readonly dependent?: boolean;
  /** Ranges of a blob at a time, as containerd 2.1 with `concurrent_layer_fetch_buffer` (8 MiB); default: none. */
  readonly ranges?: number;
  /** How often the whole pull is begun, as the kubelet does; default once. */
  readonly tries?: number;
  /** Milliseconds until it counts as hung. */
  readonly deadline: number;
}

export interface PullResult {
  readonly outcome: 'ok' | 'failed' | 'wrong bytes' | 'hung';
  readonly seconds: number;
  /** Bytes that the registry itself sent to this client. */
  readonly past: number;
  /** Longest time without a byte, in seconds. */
  readonly gap: number;
  /** Why each try failed. */
  readonly errors: readonly string[];
}
