/** What Weir is to reach, held against kept results: medians of the turns. `bench node` judges its own. Pure. */
import { percentile } from '../../test/simulator/stats.ts';
import { MIB } from '../../src/util/clock.ts';
import type { Kept } from './kept.ts';

/** One turn of one system; what only real nodes have is not there in simulation. */
export type Turn = Kept<'simulate'>['results'][number] & Partial<Kept<'crowd'>['results'][number]>;

export interface Judged {
  readonly value: number;
  readonly met: boolean;
}

export interface Target {
  readonly name: string;
  /** At most. */
  readonly limit: number;
  readonly digits: number;
  /** undefined: not measured there. */
  readonly judge: (weir: readonly Turn[], registry: readonly Turn[]) => Judged | undefined;
}

/** Over the registry alone: a pull through Weir is never slower. */
const MAX_TIMES = 1;
/** Over the lower bound: what the start and the end of a swarm may cost. */
const MAX_RATIO = 1.25;
/** Images: one, and what is asked for twice while nodes find each other. */
const MAX_IMAGES = 1.02;
/** A pull that fails, or that its mirror sends to the registry, is what Weir must not add. */
const MAX_LOST = 0;
/** MiB: what a node takes from workloads while it does nothing. */
const MAX_IDLE = 120;
/** Half of the members of a cluster that has `MANY_NODES`: not each talks to each. */
const MAX_CONNECTIONS = 500;
const MANY_NODES = 1000;

export const TARGETS: readonly Target[] = [
  atMost('Time over that of the registry alone', MAX_TIMES, 2, (weir, registry) => {
    const [own, other] = [medianOf(weir, time), medianOf(registry, time)];
    return own === undefined || other === undefined ? undefined : own / other;
  }),
  atMost('Makespan over the lower bound', MAX_RATIO, 2, (weir) =>
    medianOf(weir, (turn) => turn.makespan_ratio),
  ),
  atMost('Left the registry, images', MAX_IMAGES, 3, (weir) => medianOf(weir, (turn) => turn.registry_ratio)),
  atMost('Failed pulls, and requests past the mirrors', MAX_LOST, 0, (weir) =>
    weir.reduce((sum, turn) => sum + turn.failures + (turn.fallback_requests ?? 0), 0),
  ),
  atMost('Resident memory of an idle node, MiB', MAX_IDLE, 0, (weir) =>
    medianOf(weir, ({ rss_idle_bytes: bytes }) => (typeof bytes === 'number' ? bytes / MIB : null)),
  ),
  atMost(`Connections of the busiest of ${MANY_NODES} nodes`, MAX_CONNECTIONS, 0, (weir) =>
    medianOf(weir, (turn) => (turn.nodes >= MANY_NODES ? turn.connections_max : null)),
  ),
];

function atMost(
  name: string,
  limit: number,
  digits: number,
  valueOf: (weir: readonly Turn[], registry: readonly Turn[]) => number | undefined,
): Target {
  return {
    name,
    limit,
    digits,
    judge: (weir, registry) => {
      const value = valueOf(weir, registry);
      return value === undefined ? undefined : { value, met: value <= limit };
    },
  };
}

/** A rolling update is judged by its later nodes, which could have peers. */
function time({ later_p50_s: later, makespan_s: makespan }: Turn): number {
  return later ?? makespan;
}

function medianOf(
  turns: readonly Turn[],
  pick: (turn: Turn) => number | null | undefined,
): number | undefined {
  const values = turns.map((turn) => pick(turn)).filter((value) => typeof value === 'number');
  return values.length === 0 ? undefined : percentile(values, 50);
}
