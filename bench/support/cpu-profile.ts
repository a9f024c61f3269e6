/** The functions of a CPU profile of V8 that took the most time themselves. Pure. */

/** The used fields of a .cpuprofile file (Chrome DevTools Protocol, Profiler.Profile). */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Node of each sample. */
  readonly samples: readonly number[];
  /** Microseconds from the previous sample to each. */
  readonly timeDeltas: readonly number[];
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly url: string;
    /** From 0 on. */
    readonly lineNumber: number;
  };
}

export interface ProfileEntry {
  readonly name: string;
  /** `src/http/body.ts:96`, `node:net:801`, or empty for code that is not JavaScript. */
  readonly place: string;
  readonly milliseconds: number;
  /** Share of all time that is not idle, 0 to 1. */
  readonly share: number;
}

export interface ProfileSummary {
  /** Time of the main thread. */
  readonly busyMilliseconds: number;
  readonly idleMilliseconds: number;
  readonly top: readonly ProfileEntry[];
}

const IDLE = '(idle)';

/**
 * @param root URL of the sources, cut off the places
 * @param count of entries
 */
export function summarize(profile: CpuProfile, root: string, count: number): ProfileSummary {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const times = new Map<string, { name: string; place: string; microseconds: number }>();
  let busy = 0;
  let idle = 0;
  for (const [index, sample] of profile.samples.entries()) {
    const frame = frames.get(sample);
    // A delta is the time before its sample; V8's are below 0 if clocks disagree.
    const microseconds = Math.max(0, profile.timeDeltas[index] ?? 0);
    if (frame === undefined) continue;
    if (frame.functionName === IDLE) {
      idle += microseconds;
      continue;
    }
    busy += microseconds;
    const name = frame.functionName === '' ? '(anonymous)' : frame.functionName;
    const place = frame.url === '' ? '' : `${shorten(frame.url, root)}:${frame.lineNumber + 1}`;
    const entry = times.get(`${name} ${place}`) ?? { name, place, microseconds: 0 };
    entry.microseconds += microseconds;
    times.set(`${name} ${place}`, entry);
  }
  const top = [...times.values()].toSorted((a, b) => b.microseconds - a.microseconds).slice(0, count);
  return {
    busyMilliseconds: busy / 1000,
    idleMilliseconds: idle / 1000,
    top: top.map(({ name, place, microseconds }) => ({
      name,
      place,
      milliseconds: microseconds / 1000,
      share: microseconds / busy,
    })),
  };
}

function shorten(url: string, root: string): string {
  return url.startsWith(root) ? url.slice(root.length) : url;
}
