/** What a node has to reach, and the aims beyond. Pure. */
import { MAIN } from '../support/threads.ts';
import type { Figures } from './report.ts';

export interface Target {
  readonly name: string;
  readonly value: number;
  readonly bound: 'at most' | 'at least';
  readonly target: number;
  /** The aim beyond the target. */
  readonly aim?: number;
  readonly reached: boolean;
}

interface Rule {
  readonly name: string;
  readonly bound: Target['bound'];
  readonly target: number;
  readonly aim?: number;
  /** The figure that is judged; undefined: it was not measured. */
  readonly value: number | undefined;
}

export function targetsOf({ cold, warm, memory, latency, late }: Figures): readonly Target[] {
  const rules: Rule[] = (cold?.setups ?? []).flatMap(({ setup, limits, seconds }) =>
    limits === undefined
      ? []
      : [{ name: coldName(setup), bound: 'at most', ...limits, value: seconds.ratio.median }],
  );
  const atMost = (name: string, target: number, aim: number, value: number | undefined): void =>
    void rules.push({ name, bound: 'at most', target, aim, value });
  const atLeast = (name: string, target: number, aim: number, value: number | undefined): void =>
    void rules.push({ name, bound: 'at least', target, aim, value });
  atLeast('warm hit', 0.8, 1, warm?.rate.ratio.median);
  atMost('idle memory, MiB', 115, 100, memory?.idle.median);
  atMost('memory of 8 pulls, MiB', 260, 200, memory?.cold.median);
  atMost('first byte of a hit, ms', 1.5, 0.8, latency?.hitSmall.weir.p50);
  for (const { setup, rate, cpu, first, sender, receiver } of late?.setups ?? []) {
    const isSecure = setup === 'TLS';
    if (isSecure) atLeast(lateName('rate', setup), 250, 350, rate.median);
    atMost(lateName('CPU', setup), isSecure ? 7 : 5.5, isSecure ? 5.5 : 4, cpu.median);
    if (!isSecure) continue;
    const loops = [sender, receiver].map(({ loopDelay }) => loopDelay.p99);
    atMost(lateName('event loop', setup), 25, 10, Math.max(...loops));
    atMost(lateName('CPU, cold', setup), 4.5, 3.5, first.cpu.median);
    atMost(lateName('main thread, cold', setup), 0.4, 0.2, first.threads[MAIN]?.median);
  }
  return rules.flatMap(({ value, ...rule }) =>
    value === undefined ? [] : [{ ...rule, value, reached: isWithin(rule.bound, value, rule.target) }],
  );
}

export function coldName(setup: string): string {
  return `cold pull, ${setup}`;
}

export function lateName(figure: string, setup: string): string {
  return `late node, ${setup}, ${figure}`;
}

/** Beside the figure, for people; empty if it has no target. */
export function verdict(targets: readonly Target[], name: string): string {
  const found = targets.find((each) => each.name === name);
  if (found === undefined) return '';
  const { bound, target, aim, value, reached } = found;
  const text = `${bound === 'at most' ? '≤' : '≥'} ${target} ${judge(reached)}`;
  return aim === undefined ? text : `${text} (aim ${aim} ${judge(isWithin(bound, value, aim))})`;
}

/** Whether the value keeps the bound. */
export function isWithin(bound: Target['bound'], value: number, limit: number): boolean {
  return bound === 'at most' ? value <= limit : value >= limit;
}

function judge(isReached: boolean): string {
  return isReached ? 'reached' : 'not reached';
}
