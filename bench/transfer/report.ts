/** The figures of `bench transfer`, as JSON and as a table for people. Pure. */
import { MIB } from '../../src/util/clock.ts';
import type { Machine } from '../support/machine.ts';
import type { Spread } from '../../test/simulator/stats.ts';
import { formatTable, type Row } from '../support/table.ts';
import type { Setup } from './protocol.ts';

export type Case = Pick<Setup, 'secure' | 'receiverKind' | 'piece'>;

export interface CaseReport extends Case {
  /** CPU seconds per GiB, user and system. */
  readonly sender: Spread;
  readonly receiver: Spread;
  /** Of the receiver's main thread alone. */
  readonly main: Spread;
  /** MiB/s. */
  readonly rate: Spread;
  /** Resident bytes of the receiver. */
  readonly resident: Spread;
}

export interface TransferReport {
  readonly question: 'transfer';
  /** ISO 8601. */
  readonly startedAt: string;
  readonly repeat: number;
  readonly machine: Machine;
  /** Share of the CPU time that the hypervisor gave to others meanwhile, 0 to 1. */
  readonly stolen: number;
  readonly cases: readonly CaseReport[];
}

const HEAD: Row = [
  'carrier',
  'chunk',
  'sender',
  'receiver',
  'its main thread',
  'both',
  'MiB/s',
  'resident',
  'receiver is',
];

export function renderTransferReport({ cases, machine, stolen, repeat }: TransferReport): string {
  const rows = cases.map(({ secure, piece: chunk, sender, receiver, main, receiverKind, rate, resident }) => [
    secure ? 'TLS 1.3' : 'plain TCP',
    `${chunk / MIB} MiB`,
    range(sender),
    range(receiver),
    main.median.toFixed(3),
    (sender.median + receiver.median).toFixed(2),
    rate.median.toFixed(0),
    `${(resident.median / MIB).toFixed(0)} MiB`,
    receiverKind,
  ]);
  const about = `${machine.cpu}, ${machine.cores} cores, ${machine.kernel}, Node ${machine.node}`;
  const notes = [
    'CPU seconds (user and system) per GiB; median (lowest to highest) of the turns.',
    `${about}; load before ${machine.loadBefore.toFixed(1)}, ${(stolen * 100).toFixed(1)}% stolen; ${repeat} turns.`,
  ];
  return `${formatTable([HEAD, ...rows])}\n\n${notes.join('\n')}\n`;
}

function range({ median, min, max }: Spread): string {
  return `${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`;
}
