/** Faults of a registry, as rules: the requests, and the fault that they meet. */
import type { OutgoingHttpHeaders } from 'node:http';

/** Place of a fault in the body, in bytes from its start. */
export interface At {
  readonly at: number;
}

export type Fault =
  /** TCP RST before any byte of the answer. */
  | { readonly kind: 'reset' }
  /** TCP RST after `at` bytes of the body. */
  | ({ readonly kind: 'reset-at' } & At)
  /** The request is taken and never answered. */
  | { readonly kind: 'stall' }
  /** No byte more after `at` bytes of the body; the connection stays open. */
  | ({ readonly kind: 'stall-at' } & At)
  /** The connection is closed (FIN) after `at` bytes of the body, short of its Content-Length. */
  | ({ readonly kind: 'cut' } & At)
  /** One bit is wrong at byte `at`. */
  | ({ readonly kind: 'flip' } & At)
  /** The proxy answers itself. */
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: OutgoingHttpHeaders;
      readonly body?: string | Uint8Array;
    }
  /** The request loses its Range, so the answer is the whole blob. */
  | { readonly kind: 'ignore-range' }
  /** Milliseconds before the request goes on to the registry. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** The body goes on at this rate. */
  | { readonly kind: 'throttle'; readonly bytesPerSecond: number };

export interface Rule {
  /** Tested against the path with its query. */
  readonly path: RegExp;
  /** Tested against the method; default: GET and HEAD. */
  readonly method?: RegExp;
  /** Matching requests that pass before the first one meets the fault. Default 0. */
  readonly skip?: number;
  /** Requests that meet the fault. Default: all. */
  readonly times?: number;
  /** Only each so many-th of them meets it. Default 1. */
  readonly every?: number;
  readonly fault: Fault;
}

/** A rule as JSON: its patterns are texts. */
export interface WrittenRule extends Omit<Rule, 'path' | 'method'> {
  readonly path: string;
}

export function readRules(text: string): readonly Rule[] {
  return (JSON.parse(text) as readonly WrittenRule[]).map((rule) =>
    Object.assign({}, rule, { path: new RegExp(rule.path) }),
  );
}

/** Rules with their counts. The first rule that matches and has not run out decides. */
export class RuleBook {
  readonly #rules: { readonly rule: Rule; seen: number }[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules.map((rule) => ({ rule, seen: 0 }));
  }

  /** The fault for this request; undefined: none. */
  decide(method: string, path: string): Fault | undefined {
    for (const entry of this.#rules) {
      const { rule } = entry;
      if (!rule.path.test(path) || !(rule.method ?? /^(?:GET|HEAD)$/).test(method)) continue;
      const nth = entry.seen;
      entry.seen += 1;
      const { skip = 0, times = Infinity, every = 1 } = rule;
      if (nth >= skip && nth < skip + times && (nth - skip + 1) % every === 0) return rule.fault;
    }
    return undefined;
  }
}
