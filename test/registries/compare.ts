/**
 * A direct pull and one through Weir from two registries that behave alike. Where the direct pull passes, Weir's must, with
 * the same digest, and in about its time.
 */
import { SECOND } from '../../src/util/clock.ts';
import { MirrorFixture } from '../support/mirror-fixture.ts';
import { behaviourOf, describeBehaviour, simpler, type Behaviour } from './behaviour.ts';
import { OddRegistry } from './odd-registry.ts';
import { pull, type Host, type Pulled } from './pull.ts';

/** Cases at one time: they mostly wait. */
const LANES = 16;
/** A pull that fails directly must fail within so many milliseconds through Weir, too. */
const HANGS = 60 * SECOND;

interface Outcome {
  readonly pulled: Pulled | undefined;
  readonly error: string;
  readonly took: number;
}

export interface Findings {
  readonly cases: number;
  /** Cases that fail without Weir. */
  readonly failDirectly: number;
  /** Cases that pass in part from the registry itself. */
  readonly pastMirror: number;
  /** One line for each seed that fails. */
  readonly problems: readonly string[];
}

async function timed(client: Behaviour['client'], hosts: readonly Host[]): Promise<Outcome> {
  const start = performance.now();
  try {
    const pulled = await pull(client, hosts);
    return { pulled, error: '', took: performance.now() - start };
  } catch (error) {
    return { pulled: undefined, error: String(error), took: performance.now() - start };
  }
}

interface Compared {
  readonly direct: Outcome;
  readonly mirrored: Outcome;
  readonly problem: string | undefined;
}

async function compare(
  mirror: string,
  behaviour: Behaviour,
  seed: number,
  allowance: number,
): Promise<Compared> {
  const { client } = behaviour;
  const straight = ({ host }: OddRegistry): Host => ({
    base: `http://${host}/v2`,
    query: '',
    isMirror: false,
  });
  await using first = await OddRegistry.start(behaviour, seed);
  await using second = await OddRegistry.start(behaviour, seed);
  const { host, manifest } = second;
  const byPath = { base: `${mirror}/v2/${host}`, query: '', isMirror: true };
  const byNs = { base: `${mirror}/v2`, query: `?ns=${host}`, isMirror: true };
  const hosts = client === 'podman' ? [byPath] : [byNs, straight(second)];
  const [direct, mirrored] = await Promise.all([timed(client, [straight(first)]), timed(client, hosts)]);
  return { direct, mirrored, problem: problemOf(direct, mirrored, manifest, allowance) };
}

function problemOf(
  direct: Outcome,
  mirrored: Outcome,
  manifest: string,
  allowance: number,
): string | undefined {
  if (mirrored.pulled !== undefined && mirrored.pulled.manifest !== manifest) return 'another image';
  if (mirrored.took > HANGS) return 'hangs';
  if (direct.pulled === undefined) return undefined;
  if (mirrored.pulled === undefined) return `fails (${mirrored.error})`;
  const late = mirrored.took - direct.took;
  return late > allowance ? `takes ${(late / SECOND).toFixed(1)} s more` : undefined;
}

export interface CompareOptions {
  readonly isShrunk: boolean;
  /** Milliseconds that a pull through Weir may take more. */
  readonly allowance: number;
  /** Hears each problem at once. */
  readonly found: (problem: string) => void;
}

/** Runs `count` cases from `seed` on. */
export async function compareAll(seed: number, count: number, options: CompareOptions): Promise<Findings> {
  await using fixture = await MirrorFixture.start({
    headerTimeout: 4 * SECOND,
    upstreamStallTimeout: 5 * SECOND,
    stallTimeout: 10 * SECOND,
    retries: 5,
    mirror: { firstByteTimeout: 3 * SECOND, patientTimeout: 30 * SECOND },
  });
  const problems: string[] = [];
  let failDirectly = 0;
  let pastMirror = 0;
  let next = seed;
  const lane = async (): Promise<void> => {
    while (next < seed + count) {
      const mine = next++;
      const behaviour = behaviourOf(mine);
      const { direct, mirrored, problem } = await compare(fixture.url, behaviour, mine, options.allowance);
      if (direct.pulled === undefined) failDirectly++;
      if (mirrored.pulled?.isPast === true) pastMirror++;
      if (problem === undefined) continue;
      const smallest = options.isShrunk
        ? await shrink(fixture.url, behaviour, mine, options.allowance)
        : behaviour;
      const line = `seed ${mine}: ${problem}: ${describeBehaviour(smallest)}`;
      problems.push(line);
      options.found(line);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return { cases: count, failDirectly, pastMirror, problems };
}

/** Leaves out what the failure does not need. */
async function shrink(
  mirror: string,
  behaviour: Behaviour,
  seed: number,
  allowance: number,
): Promise<Behaviour> {
  for (const candidate of simpler(behaviour)) {
    const { problem } = await compare(mirror, candidate, seed, allowance);
    if (problem !== undefined) return shrink(mirror, candidate, seed, allowance);
  }
  return behaviour;
}
