/** What `bench crowd` reports besides what all benches do. */
import type { BenchResult, Failure } from '../report/result.ts';

export type { NodeResult } from '../report/result.ts';

export interface CrowdResult extends BenchResult {
  /** Of the nodes of all waves but the first; null where there is one wave. */
  readonly later_p50_s: number | null;
  /** What left the registry's interface, TCP/IP headers taken off, retransmissions included; null on loopback. */
  readonly registry_wire_bytes: number | null;
  /** What came over the links of all nodes, headers and all, over the content that arrived; null on loopback. */
  readonly link_ratio: number | null;
  /** TCP connections that it had at one time; null on loopback. */
  readonly registry_connections_max: number | null;
  /**
   * Requests, HEAD among them, that runtimes made to the registry themselves as their mirror had not answered them well,
   * and the bytes of their bodies: a part of registry_requests and registry_bytes. null without a mirror.
   */
  readonly fallback_requests: number | null;
  readonly fallback_bytes: number | null;
  /** Why, as far as runtimes tell (`fetch` does). */
  readonly fallback_reasons: readonly Failure[];
  /** 0 to 1 of all cores while nodes pulled, with what else the machine did. */
  readonly cpu_busy: number;
  readonly cpu_stolen: number;
  /** Until all nodes of the system were ready. */
  readonly start_s: number;
  /** Of this, from the last node's start until all knew each other; null where they need not. */
  readonly known_s: number | null;
  /** CPU seconds of all processes of the system until nodes began to pull. */
  readonly start_cpu_s: number;
  /** Of a node's processes before the pull, median over the nodes; null where there are none. */
  readonly rss_idle_bytes: number | null;
  /** Of these, what is shared with no other process. */
  readonly private_idle_bytes: number | null;
  /** Nodes that were killed as planned: neither failures nor part of any time. */
  readonly died: number;
  /** Nodes with slow links: part of failures, not of any time. */
  readonly slow: number;
  readonly versions: Readonly<Record<string, string>>;
}
