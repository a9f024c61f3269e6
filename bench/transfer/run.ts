/**
 * `bench transfer`: what it costs to move chunks from one member to another. README.md says how it is measured.
 *
 * Each case starts a sending and a receiving process, which end with it; cases run one after the other.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GIB, MIB } from '../../src/util/clock.ts';
import type { Address } from '../../src/protocol/member.ts';
import { cpuTimes, stolenShare } from '../support/cpu-share.ts';
import { describeMachine } from '../support/machine.ts';
import { spread } from '../../test/simulator/stats.ts';
import { makeParty } from './members.ts';
import type { Order, Receiver, Reply, Setup } from './protocol.ts';
import type { Case, CaseReport, TransferReport } from './report.ts';

/** Bytes of one turn: shorter ones show chance. */
const TURN_BYTES = 2 * GIB;
/** Bytes that are not counted: code is compiled and buffers grow. */
const WARM_UP_BYTES = GIB / 4;
/** Requests side by side, each on a connection of its own. */
const CONNECTIONS = 4;

const RECEIVERS: readonly Receiver[] = ['weir', 'undici', 'node:http'];
const CASES: readonly Case[] = [true, false].flatMap((secure) => {
  const cases: Case[] = RECEIVERS.map((receiverKind) => ({ secure, receiverKind, piece: 4 * MIB }));
  cases.push({ secure, receiverKind: 'weir', piece: 2 * MIB });
  return cases;
});

export interface TransferBenchOptions {
  readonly repeat: number;
  /** Folder for report.json. */
  readonly out: string;
  readonly say: (message: string) => void;
  readonly signal: AbortSignal;
}

export async function runTransferBench(options: TransferBenchOptions): Promise<TransferReport> {
  const { repeat, out, say, signal } = options;
  const startedAt = new Date().toISOString();
  const machine = await describeMachine({});
  const before = await cpuTimes();
  const cases: CaseReport[] = [];
  for (const each of CASES) {
    say(`${each.secure ? 'TLS' : 'plain'}, ${each.piece / MIB} MiB, ${each.receiverKind}`);
    cases.push(await measure(each, repeat, signal));
  }
  const stolen = stolenShare(before, await cpuTimes());
  const report: TransferReport = { question: 'transfer', startedAt, repeat, machine, stolen, cases };
  await mkdir(out, { recursive: true });
  await writeFile(join(out, 'report.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  return report;
}

async function measure(which: Case, repeat: number, signal: AbortSignal): Promise<CaseReport> {
  const setup: Setup = { ...which, connections: CONNECTIONS, sender: makeParty(), asker: makeParty() };
  await using sender = new Child('sender.ts', setup, signal);
  await using receiver = new Child('receiver.ts', setup, signal);
  const { address } = await sender.ask({ kind: 'listen' }, 'listening');
  await turn(sender, receiver, address, WARM_UP_BYTES / which.piece);
  const turns: Turn[] = [];
  for (let i = 0; i < repeat; i++) {
    turns.push(await turn(sender, receiver, address, TURN_BYTES / which.piece));
  }
  const of = (key: keyof Turn) => spread(turns.map((each) => each[key]));
  return {
    ...which,
    sender: of('sender'),
    receiver: of('receiver'),
    main: of('main'),
    rate: of('rate'),
    resident: of('resident'),
  };
}

interface Turn {
  readonly sender: number;
  readonly receiver: number;
  readonly main: number;
  readonly rate: number;
  readonly resident: number;
}

async function turn(sender: Child, receiver: Child, from: Address, chunks: number): Promise<Turn> {
  const before = [
    await sender.ask({ kind: 'usage' }, 'usage'),
    await receiver.ask({ kind: 'usage' }, 'usage'),
  ];
  const { seconds } = await receiver.ask({ kind: 'fetch', from, chunks }, 'fetched');
  const after = [
    await sender.ask({ kind: 'usage' }, 'usage'),
    await receiver.ask({ kind: 'usage' }, 'usage'),
  ];
  const gibibytes = (chunks * receiver.piece) / GIB;
  const spent = (side: number, of: 'process' | 'main') =>
    ((after[side]?.[of] ?? 0) - (before[side]?.[of] ?? 0)) / gibibytes;
  const resident = after[1]?.resident ?? 0;
  return {
    sender: spent(0, 'process'),
    receiver: spent(1, 'process'),
    main: spent(1, 'main'),
    rate: (gibibytes * GIB) / MIB / seconds,
    resident,
  };
}

class Child implements AsyncDisposable {
  readonly piece: number;
  readonly #process: ChildProcess;
  readonly #signal: AbortSignal;

  constructor(program: string, setup: Setup, signal: AbortSignal) {
    this.piece = setup.piece;
    this.#signal = signal;
    const path = fileURLToPath(new URL(program, import.meta.url));
    this.#process = fork(path, [JSON.stringify(setup)]);
  }

  async ask<K extends Reply['kind']>(order: Order, kind: K): Promise<Extract<Reply, { kind: K }>> {
    this.#process.send(order);
    const gone = new AbortController();
    const { signal } = gone;
    const exit = once(this.#process, 'exit', { signal }).then(() => {
      throw new Error('a measured process has ended');
    });
    try {
      const answer = once(this.#process, 'message', { signal: AbortSignal.any([signal, this.#signal]) });
      const [reply] = (await Promise.race([answer, exit])) as [Reply];
      if (reply.kind !== kind) throw new Error(`${reply.kind} instead of ${kind}`);
      return reply as Extract<Reply, { kind: K }>;
    } finally {
      exit.catch(() => undefined);
      gone.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exit;
  }
}
