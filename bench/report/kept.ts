/**
 * Kept results: the reports in bench/results that the tables of docs/benchmarks.md are made from. Each is a report.json
 * with the commit that was measured, less what no table shows (keep.ts). A file that lacks a field which a table shows is
 * refused, with the field's name: a table never has a gap that nobody sees.
 */
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import type { CrowdReport } from '../crowd/report.ts';
import type { Receiver } from '../transfer/protocol.ts';

const FOLDER: URL = new URL('../results/', import.meta.url);

const number = v.pipe(v.number(), v.finite());
const orNull = v.nullable(number);
const text = v.string();
const texts = v.record(text, text);

const machine = v.object({
  cpu: text,
  cores: number,
  memory: number,
  kernel: text,
  node: text,
  loadBefore: number,
  programs: texts,
});
const about = { commit: v.pipe(text, v.regex(/^[0-9a-f]{7,40}$/)), startedAt: text, machine };

const setting = v.union([text, number, v.boolean(), v.null(), v.array(v.union([text, number]))]);
const asked = { settings: v.record(text, setting), versions: texts, warnings: v.array(text) };

const failure = v.object({ node: text, reason: text });
const figures = {
  system: text,
  nodes: number,
  turn: number,
  seed: number,
  image_bytes: number,
  lower_bound_s: number,
  makespan_s: number,
  makespan_ratio: number,
  p50_s: number,
  p99_s: number,
  first_byte_p50_s: orNull,
  registry_bytes: number,
  registry_ratio: number,
  registry_requests: number,
  cross_zone_bytes: number,
  cpu_s_per_gib: orNull,
  rss_max_bytes: orNull,
  connections_max: number,
  failures: number,
};
const nodeResult = v.object({
  node: text,
  zone: text,
  started_s: orNull,
  completed_s: orNull,
  first_byte_s: orNull,
  bytes: v.object({ peers: number, registry: number }),
  sent_bytes: number,
  cross_zone_bytes: number,
  connections: number,
  rss_bytes: orNull,
});
const crowdResult = v.object({
  ...figures,
  failure_reasons: v.array(failure),
  per_node: v.array(nodeResult),
  registry_curve: v.array(v.tuple([number, number])),
  later_p50_s: orNull,
  registry_wire_bytes: orNull,
  link_ratio: orNull,
  registry_connections_max: orNull,
  fallback_requests: orNull,
  fallback_bytes: orNull,
  fallback_reasons: v.array(failure),
  main_cpu_s_per_gib: v.optional(orNull, null), // older results lack it, and the next
  loop_p99_ms: v.optional(orNull, null),
  cpu_busy: number,
  cpu_stolen: number,
  start_s: number,
  known_s: orNull,
  start_cpu_s: number,
  rss_idle_bytes: orNull,
  private_idle_bytes: orNull,
  died: number,
  slow: number,
  versions: texts,
});
const crowd: v.GenericSchema<unknown, CrowdReport & { readonly commit: string }> = v.object({
  question: v.literal('crowd'),
  ...about,
  ...asked,
  results: v.pipe(v.array(crowdResult), v.nonEmpty()),
});

const clusterCpu = v.object({
  main_s: number,
  workers_s: number,
  busiest_main_s: number,
  main_wait_s: number,
});
const simulate = v.object({
  question: v.literal('simulate'),
  ...about,
  ...asked,
  results: v.pipe(v.array(v.object({ ...figures, cpu: v.exactOptional(clusterCpu) })), v.nonEmpty()),
});

const sample = v.tuple([number, number]);
const churn = v.object({
  question: v.literal('churn'),
  ...about,
  ...asked,
  results: v.tuple([
    v.object({
      nodes: number,
      makespan_s: number,
      pulls: number,
      p99_s: number,
      registry_ratio: number,
      cut: number,
      leaves: number,
      kills: number,
      failures: number,
      trends: v.record(text, v.object({ verdict: text, growth: number })),
      // The first, the middle and the last sample.
      series: v.record(text, v.tuple([sample, sample, sample])),
    }),
  ]),
});

const spread = v.object({ median: number, min: number, max: number });
const pair = v.object({ reference: spread, weir: spread, ratio: spread });
const percentiles = v.object({ p50: number, p99: number });
const sides = v.object({ reference: percentiles, weir: percentiles });
const cpu = v.object({ cpu: spread, threads: v.object({ main: spread }) });
const side = v.object({ ...cpu.entries, resident: spread, loopDelay: percentiles });
const lateSetup = v.object({
  setup: text,
  rate: spread,
  cpu: spread,
  sender: side,
  receiver: side,
  first: cpu,
  plainWrite: spread,
});
/** With TLS, and without. */
const late = v.object({ imageBytes: number, setups: v.tuple([lateSetup, lateSetup]) });
const node = v.object({
  question: v.literal('node'),
  ...about,
  repeat: number,
  targets: v.array(
    v.object({ name: text, value: number, bound: v.picklist(['at most', 'at least']), target: number }),
  ),
  cold: v.object({
    setups: v.array(
      v.object({
        setup: text,
        limits: v.optional(v.object({ target: number })),
        seconds: pair,
        nodeCpu: spread,
      }),
    ),
  }),
  warm: v.object({ rate: pair, cpu: pair }),
  memory: v.object({ idle: spread, cold: spread, warm: spread }),
  latency: v.object({ hitSmall: sides, hitLarge: sides, miss: sides }),
  late,
});

/** The second one was measured before byte workers. */
const receivers: readonly (Receiver | 'weir, memory not given back')[] = [
  'weir',
  'weir, memory not given back',
  'undici',
  'node:http',
];
const transfer = v.object({
  question: v.literal('transfer'),
  ...about,
  repeat: number,
  cases: v.array(
    v.object({
      secure: v.boolean(),
      receiverKind: v.picklist(receivers),
      piece: number,
      sender: spread,
      receiver: spread,
      rate: spread,
    }),
  ),
});

const SCHEMAS = { crowd, simulate, churn, node, transfer };
export type Question = keyof typeof SCHEMAS;
/** A kept result, with all that tables show of it. */
export type Kept<Q extends Question = Question> = v.InferOutput<(typeof SCHEMAS)[Q]>;

/** @throws Error that names the file and the field */
export async function readKept<Q extends Question>(name: string, question: Q): Promise<Kept<Q>> {
  const json: unknown = JSON.parse(await readFile(keptFile(name), 'utf8'));
  return parseKept(json, question, `bench/results/${name}.json`);
}

/**
 * @param place how errors name it
 * @throws Error that names the place and the field
 */
export function parseKept<Q extends Question>(json: unknown, question: Q, place: string): Kept<Q> {
  const parsed = v.safeParse(SCHEMAS[question], json);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw new Error(`${place}: ${v.getDotPath(issue) ?? 'the whole'}: ${issue.message}`);
}

export function isQuestion(name: unknown): name is Question {
  return typeof name === 'string' && Object.hasOwn(SCHEMAS, name);
}

export function keptFile(name: string): URL {
  return new URL(`${name}.json`, FOLDER);
}
