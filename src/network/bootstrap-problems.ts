/** Why the bootstrap addresses have led to nobody, in classes that an operator can act on. */
import { errorMessage, isWeirError, systemCode } from '../util/errors.ts';
import type { BootstrapEntry } from './addresses.ts';

/** The most telling first: of several addresses, the one that an attempt came closest to joining by is named. */
export const BOOTSTRAP_REASONS = [
  'cluster-key',
  'protocol',
  'peer-id',
  'cut',
  'other',
  'timeout',
  'refused',
  'unreachable',
  'unresolved',
] as const;

/**
 * `cluster-key`: it has another cluster key. `protocol`: it speaks another version of the protocol. `peer-id`: it is not the
 * node that `/p2p/…` names. `cut`: it closed the connection. `timeout`: no answer. `refused`: nothing listens there.
 * `unreachable`: there is no route to it. `unresolved`: the name has no address.
 */
export type BootstrapReason = (typeof BOOTSTRAP_REASONS)[number];

export interface BootstrapProblem {
  readonly reason: BootstrapReason;
  /** `host:port` as it was configured; behind a name also the address. */
  readonly at: string;
  /** The error's own words; at most {@link MAX_WORDS} characters. */
  readonly message: string;
}

/** Characters: the other side may have chosen some of them. */
const MAX_WORDS = 200;

const NO_ROUTE: ReadonlySet<string> = new Set(['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'EADDRNOTAVAIL']);
/**
 * Each cluster key is a handshake of its own name, and the other side has none of this node's. If names are alike, Noise says
 * no more than that it cannot read the other side.
 */
const OTHER_KEY = /could not negotiate \/weir\/noise\/|validation fail|decrypt/i;
const OTHER_IDENTITY = /does not match expected/i;
/** A name of this machine may lead to an address that this node listens on and does not announce. */
const SELF = /dial self/i;
const CLOSED = /ECONNRESET|EPIPE|EOF|Encryption failed|closed|ended/i;
/** Causes of one error that are looked at; a cycle ends here. */
const MAX_CAUSES = 8;

export class BootstrapProblems {
  /** Of the last whole round. */
  #last: BootstrapProblem | undefined;
  /** Of this round so far. */
  #now: BootstrapProblem | undefined;
  #hasRound = false;

  /** The most telling problem; undefined if all names lead to this node itself, or to members. */
  get worst(): BootstrapProblem | undefined {
    return this.#hasRound ? this.#last : this.#now; // the first round may take minutes
  }

  /** An address of this node itself is no problem. */
  add(at: string, error: unknown, reason: BootstrapReason | 'self' = reasonOf(error)): void {
    if (reason === 'self') return;
    if (this.#now !== undefined && rank(this.#now.reason) <= rank(reason)) return;
    this.#now = { reason, at, message: errorMessage(error).slice(0, MAX_WORDS) };
  }

  endRound(): void {
    this.#last = this.#now;
    this.#now = undefined;
    this.#hasRound = true;
  }
}

/** `host:port` of an entry, and the address of this host if it is another word. */
export function placeOf({ host, port }: BootstrapEntry, address?: string): string {
  const found = address?.split('/')[2];
  const place = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return found === undefined || found === host ? place : `${place} (${found})`;
}

/** The class of a dial that failed, or of the first words after it; `self`: this node has found itself. */
export function reasonOf(error: unknown): BootstrapReason | 'self' {
  for (let cause = error, depth = 0; cause instanceof Error && depth < MAX_CAUSES; depth += 1) {
    const reason = reasonOfOne(cause);
    if (reason !== undefined) return reason;
    cause = cause.cause;
  }
  return 'other';
}

function reasonOfOne(error: Error): BootstrapReason | 'self' | undefined {
  if (isWeirError(error)) {
    if (error.code === 'peer_protocol') return 'protocol';
    if (error.code === 'peer_stalled' || error.detail['reason'] === 'timeout') return 'timeout';
    return error.cause === undefined && error.code === 'peer_cut' ? 'cut' : undefined;
  }
  const code = systemCode(error);
  if (code === 'ECONNREFUSED') return 'refused';
  if (code === 'ETIMEDOUT') return 'timeout';
  if (code !== undefined && NO_ROUTE.has(code)) return 'unreachable';
  if (error.name === 'UnsupportedProtocolError') return 'protocol';
  if (SELF.test(error.message)) return 'self';
  if (OTHER_KEY.test(error.message)) return 'cluster-key';
  if (OTHER_IDENTITY.test(error.message)) return 'peer-id';
  if (error.name === 'TimeoutError') return 'timeout';
  return code === 'ECONNRESET' || CLOSED.test(error.message) ? 'cut' : undefined;
}

function rank(reason: BootstrapReason): number {
  return BOOTSTRAP_REASONS.indexOf(reason);
}
