/** The tables of `bench node` and `bench transfer`: one node, beside nginx and general HTTP clients. */
import { coldName, isWithin, lateName } from '../../bench/node/targets.ts';
import type { Kept } from '../../bench/report/kept.ts';
import { MIB } from '../../src/util/clock.ts';
import { table } from '../markdown.ts';
import { judgement } from './target-table.ts';

type Pair = Kept<'node'>['warm']['rate'];
type Sides = Kept<'node'>['latency']['miss'];
type Late = Kept<'node'>['late']['setups'][0];

export function nodeTable({ cold, warm, memory, latency, targets }: Kept<'node'>): string {
  const judged = (name: string): string => verdict(targets, name);
  const memoryRow = (name: string, { median }: { readonly median: number }, target: string): string[] => [
    `Resident, ${name}, MiB`,
    '',
    median.toFixed(0),
    '',
    judged(target),
  ];
  const rows = [
    ...cold.setups.map(({ setup, limits, seconds }) => [
      ...pairCells(`Cold pull, ${setup}, s`, seconds, 2),
      limits === undefined ? '' : judged(coldName(setup)),
    ]),
    [...pairCells('Warm hit, MiB/s', warm.rate, 0), judged('warm hit')],
    [...pairCells('CPU of a warm hit, s per GiB', warm.cpu, 2), ''],
    [...sideCells('First byte of 1 KiB, ms, p50 / p99', latency.hitSmall), judged('first byte of a hit, ms')],
    [...sideCells('A miss, until 404, ms, p50 / p99', latency.miss), ''],
    memoryRow('idle', memory.idle, 'idle memory, MiB'),
    memoryRow('most during 8 cold pulls', memory.cold, 'memory of 8 pulls, MiB'),
  ];
  return table(['', 'Registry or nginx', 'Weir', 'Weir over it', 'Target'], rows, 'figures');
}

/** The late node with TLS; `open` is that without. */
export function lateTable({ late, targets }: Kept<'node'>): string {
  const [secure, open] = late.setups;
  const judged = (figure: string, { setup }: Late): string => verdict(targets, lateName(figure, setup));
  const each = (of: (side: Late['sender']) => string): readonly string[] => [
    of(secure.sender),
    of(secure.receiver),
  ];
  const rows = [
    ['MiB/s', '', '', secure.rate.median.toFixed(0), judged('rate', secure), open.rate.median.toFixed(0), ''],
    [
      'CPU s per GiB',
      ...each(({ cpu }) => cpu.median.toFixed(2)),
      secure.cpu.median.toFixed(2),
      judged('CPU', secure),
      open.cpu.median.toFixed(2),
      judged('CPU', open),
    ],
    ['of this on main threads', ...each(({ threads }) => threads.main.median.toFixed(2)), '', '', '', ''],
    [
      'Event loop late, p99, ms',
      ...each(({ loopDelay }) => loopDelay.p99.toFixed(1)),
      '',
      judged('event loop', secure),
      '',
      '',
    ],
    ['Resident, most, MiB', ...each(({ resident }) => resident.median.toFixed(0)), '', '', '', ''],
    [
      'Before, from the registry: CPU s per GiB',
      secure.first.cpu.median.toFixed(2),
      '',
      '',
      judged('CPU, cold', secure),
      '',
      '',
    ],
    [
      'of this on the main thread',
      secure.first.threads.main.median.toFixed(2),
      '',
      '',
      judged('main thread, cold', secure),
      '',
      '',
    ],
    ['A plain write to a file, CPU s per GiB', '', secure.plainWrite.median.toFixed(2), '', '', '', ''],
  ];
  const head = ['A late node', 'Sender', 'Receiver', 'Both', 'Target', 'Both, no TLS', 'Target, no TLS'];
  return table(head, rows, 'figures');
}

/** @throws Error that names a target which the result lacks */
function verdict(targets: Kept<'node'>['targets'], name: string): string {
  const found = targets.find((target) => target.name === name);
  if (found === undefined) throw new Error(`bench node has no target "${name}"`);
  const { bound, value, target } = found;
  return `${bound} ${target}: ${judgement(isWithin(bound, value, target))}`;
}

function pairCells(name: string, { reference, weir, ratio }: Pair, digits: number): readonly string[] {
  return [name, reference.median.toFixed(digits), weir.median.toFixed(digits), ratio.median.toFixed(2)];
}

function sideCells(name: string, { reference, weir }: Sides): readonly string[] {
  const cells = [reference, weir].map(({ p50, p99 }) => `${p50.toFixed(2)} / ${p99.toFixed(2)}`);
  return [name, ...cells, ''];
}

/** How a receiver is named, and by what the bench knows it. The bench's README tells of the other cases. */
const RECEIVERS = { Weir: 'weir', undici: 'undici', 'node:http': 'node:http' } as const;
/** Bytes that are asked for at a time. */
const PIECE: number = 4 * MIB;

export function transferTable({ cases }: Kept<'transfer'>): string {
  const rows = Object.entries(RECEIVERS).map(([label, kind]) =>
    [label].concat(
      [true, false].flatMap((isSecure) => {
        const found = cases.find(
          ({ receiverKind, piece, secure }) =>
            receiverKind === kind && piece === PIECE && secure === isSecure,
        );
        if (found === undefined) throw new Error(`bench transfer has no receiver ${kind}, TLS ${isSecure}`);
        return transferCells(found);
      }),
    ),
  );
  const head = ['TLS 1.3: sender', 'receiver', 'MiB/s', 'Plain TCP: sender', 'receiver', 'MiB/s'];
  return table(['Transfer, CPU s per GiB; receiver', ...head], rows, 'figures');
}

function transferCells({ sender, receiver, rate }: Kept<'transfer'>['cases'][number]): readonly string[] {
  return [sender.median.toFixed(2), receiver.median.toFixed(2), rate.median.toFixed(0)];
}
