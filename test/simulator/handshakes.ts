/**
 * The cost of opening a data connection: TCP and TLS 1.3 take one round trip each before the first request (RFC 8446,
 * section 2). One request at a time goes over a connection, and cancelling a request closes its connection, as in the
 * daemon (transfer/member-connections.ts). Open connections are kept for the whole pull.
 */

const ROUND_TRIPS = 2;

/** The data connections of one node to others. */
export class Handshakes<Node> {
  /** Connections that are open and carry nothing. */
  readonly #idle: Map<Node, number> = new Map();

  /** A request begins. @returns the round trips that its connection takes to open; 0 if one is free */
  begin(to: Node): number {
    const idle = this.#idle.get(to) ?? 0;
    if (idle === 0) return ROUND_TRIPS;
    this.#idle.set(to, idle - 1);
    return 0;
  }

  /** Its answer is whole. */
  end(to: Node): void {
    this.#idle.set(to, (this.#idle.get(to) ?? 0) + 1);
  }
}
