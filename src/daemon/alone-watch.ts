/**
 * Says that this node is alone although `cluster.bootstrap` names others. Its pulls work as before, from the registry, so
 * nobody would notice.
 *
 * A name that leads to this node alone is no fault: in Kubernetes it is a cluster of one node. Readiness does not depend on
 * any of this: a cluster whose members wait for each other would never start.
 */
import { repeat } from '../util/async.ts';
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';
import type { BootstrapProblem, BootstrapReason } from '../network/bootstrap-problems.ts';

/** Milliseconds between two looks. */
const LOOK = SECOND;
/** Looks at least within the time after which it is said. */
const LOOKS = 5;
export const WARN_AGAIN: number = 10 * MINUTE;
/** A cure of one fault may bring up the next one, which is said sooner. */
export const WARN_OTHER_REASON: number = MINUTE;

export interface AloneLogger {
  info(detail: object, message: string): void;
  warn(detail: object, message: string): void;
}

export interface AloneWatchOptions {
  readonly clock: Clock;
  readonly logger: AloneLogger;
  /** Milliseconds alone after which it is said. */
  readonly after: number;
  /** Live members, this node among them. */
  readonly members: () => number;
  readonly problem: () => BootstrapProblem | undefined;
  /** Is told the reason when it changes; undefined: not alone, or nobody was named. */
  readonly onChange?: (reason: BootstrapReason | undefined) => void;
}

export interface AloneState extends BootstrapProblem {
  /** What to do. */
  readonly cure: string;
  /** Since it is alone. */
  readonly seconds: number;
}

/** What each reason means, with its cure. */
export const REASONS: Readonly<Record<BootstrapReason, { readonly means: string; readonly cure: string }>> = {
  unresolved: {
    means: 'the name does not resolve',
    cure: 'correct cluster.bootstrap, or the DNS of this machine',
  },
  refused: {
    means: 'nothing listens there',
    cure: 'start Weir there, or correct the port in cluster.bootstrap (that of cluster.listen, by default 4772)',
  },
  timeout: {
    means: 'no answer',
    cure: 'correct the address in cluster.bootstrap, or let firewalls pass the ports of cluster.listen and transfer.listen',
  },
  unreachable: {
    means: 'there is no route to it',
    cure: 'correct the address in cluster.bootstrap, or the routes of this machine',
  },
  'cluster-key': {
    means: 'it has another cluster key',
    cure: 'give all nodes the same file in cluster.key-file, and restart those that had another one',
  },
  protocol: {
    means: 'it speaks another version of the protocol',
    cure: 'run versions of Weir on all nodes that share with each other (docs/operations.md, "Versions")',
  },
  'peer-id': {
    means: 'another node answers than the one after /p2p/',
    cure: 'correct the peer ID in cluster.bootstrap, or leave out /p2p/…',
  },
  cut: {
    means: 'it closes the connection',
    cure: 'see whether Weir listens there, whether a proxy is in between, and whether it bans this node (cluster.banned)',
  },
  other: {
    means: 'what answers there is no node of Weir, or the connection fails',
    cure: 'correct the address in cluster.bootstrap; log.level debug shows each attempt',
  },
};

export class AloneWatch implements Disposable {
  readonly #options: AloneWatchOptions;
  readonly #stop: AbortController = new AbortController();
  /** When it became alone (monotonic). */
  #since: number;
  #state: BootstrapProblem | undefined;
  #warned: { readonly at: number; readonly reason: BootstrapReason } | undefined;

  constructor(options: AloneWatchOptions) {
    this.#options = options;
    this.#since = options.clock.monotonic();
    void repeat(options.clock, this.#stop.signal, {
      interval: () => Math.min(LOOK, options.after / LOOKS),
      work: () => this.#look(),
      onError: () => undefined, // nothing here fails
    });
  }

  /** Undefined unless it is alone for longer than it should be. */
  get state(): AloneState | undefined {
    if (this.#state === undefined) return undefined;
    const seconds = (this.#options.clock.monotonic() - this.#since) / SECOND;
    return { ...this.#state, cure: REASONS[this.#state.reason].cure, seconds };
  }

  #look(): void {
    const { clock, members, problem, after } = this.#options;
    const now = clock.monotonic();
    if (members() > 1) {
      this.#since = now;
      this.#end('another member was found: this node is no longer alone');
      return;
    }
    if (now - this.#since < after) return;
    const found = problem();
    if (found === undefined) this.#end('cluster.bootstrap leads to this node alone: a cluster of one');
    else this.#begin(found, now);
  }

  #begin(problem: BootstrapProblem, now: number): void {
    const { logger, onChange } = this.#options;
    if (this.#state?.reason !== problem.reason) onChange?.(problem.reason);
    this.#state = problem;
    const isOther = this.#warned?.reason !== problem.reason;
    const pause = isOther ? WARN_OTHER_REASON : WARN_AGAIN;
    if (this.#warned !== undefined && now - this.#warned.at < pause) return;
    const { reason, at, message } = problem;
    this.#warned = { at: now, reason };
    const { means, cure } = REASONS[reason];
    logger.warn(
      { reason, at, problem: message, seconds: Math.round((now - this.#since) / SECOND) },
      `this node is alone and pulls without peers: ${at}: ${means}; ${cure}`,
    );
  }

  #end(message: string): void {
    if (this.#state === undefined) return;
    this.#state = undefined;
    this.#warned = undefined;
    this.#options.onChange?.(undefined);
    this.#options.logger.info({ members: this.#options.members() }, message);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}
