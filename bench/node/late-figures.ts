/** The figures of a late node, out of its turns, and their rows for people. Pure. */
import { formatBytes } from '../../src/cli/client/format.ts';
import { spread, type Percentiles, type Spread } from '../../test/simulator/stats.ts';
import { formatSpread, type Row } from '../support/table.ts';
import { lateName, verdict, type Target } from './targets.ts';
import { MAIN, type GroupSeconds } from '../support/threads.ts';

export interface LateReport {
  readonly imageBytes: number;
  readonly layers: number;
  /** Layers that the client reads at a time. */
  readonly atOnce: number;
  readonly setups: readonly LateFigures[];
}

export interface LateFigures {
  readonly setup: string;
  /** MiB/s, as the client sees it. */
  readonly rate: Spread;
  /** CPU seconds of both nodes together per GiB. */
  readonly cpu: Spread;
  readonly sender: SideFigures;
  readonly receiver: SideFigures;
  /** CPU seconds of the sender per GiB while it pulled the image from the registry. */
  readonly first: CpuFigures;
  /** CPU seconds per GiB of a plain write to a new file (support/plain-write.ts): a part of the receiver's, and none of its own. */
  readonly plainWrite: Spread;
  /** Bytes that the late node took from the registry instead of the peer, over all. */
  readonly upstreamShare: Spread;
  /** CPU seconds of the client per second. */
  readonly readerBusy: Spread;
}

/** CPU seconds per GiB. */
export interface CpuFigures {
  readonly cpu: Spread;
  /** By group of threads; `main` is always there (support/threads.ts). */
  readonly threads: Readonly<Record<string, Spread>>;
}

export interface SideFigures extends CpuFigures {
  /** MiB, the most. */
  readonly resident: Spread;
  /** Milliseconds by which the event loop was late, in a turn of its own. */
  readonly loopDelay: Percentiles;
}

export interface LateTurn {
  readonly rate: number;
  readonly readerBusy: number;
  readonly upstreamShare: number;
  /** CPU seconds per GiB of the sender's pull from the registry. */
  readonly first: GroupSeconds;
  /** CPU seconds per GiB of a plain write to a new file, just before. */
  readonly plainWrite: number;
  readonly sender: SideTurn;
  readonly receiver: SideTurn;
}

export interface SideTurn {
  /** CPU seconds per GiB. */
  readonly groups: GroupSeconds;
  /** MiB. */
  readonly resident: number;
}

type Side = 'sender' | 'receiver';

/** @throws RangeError without turns */
export function figuresOf(
  setup: string,
  turns: readonly LateTurn[],
  delays: Readonly<Record<Side, Percentiles>>,
): LateFigures {
  const side = (name: Side): SideFigures => ({
    ...cpuOf(turns.map((turn) => turn[name].groups)),
    resident: spread(turns.map((turn) => turn[name].resident)),
    loopDelay: delays[name],
  });
  return {
    setup,
    rate: spread(turns.map((turn) => turn.rate)),
    cpu: spread(turns.map(({ sender, receiver }) => total(sender.groups) + total(receiver.groups))),
    sender: side('sender'),
    receiver: side('receiver'),
    first: cpuOf(turns.map((turn) => turn.first)),
    plainWrite: spread(turns.map((turn) => turn.plainWrite)),
    upstreamShare: spread(turns.map((turn) => turn.upstreamShare)),
    readerBusy: spread(turns.map((turn) => turn.readerBusy)),
  };
}

/** A group that a turn lacks used nothing in it. */
function cpuOf(turns: readonly GroupSeconds[]): CpuFigures {
  const names = new Set(turns.flatMap((groups) => Object.keys(groups)));
  const threads = [...names].map((name) => [name, spread(turns.map((groups) => groups[name] ?? 0))] as const);
  return { cpu: spread(turns.map(total)), threads: Object.fromEntries(threads) };
}

function total(groups: GroupSeconds): number {
  return Object.values(groups).reduce((sum, each) => sum + each, 0);
}

/** Of a group of threads that a node does not have. */
const NONE: Spread = spread([0]);

/** Groups of threads that use less, in CPU seconds per GiB, have no row: they would show as 0.00. */
const SHOWN_FROM = 0.005;

export function lateRows(
  { imageBytes, layers, atOnce, setups }: LateReport,
  targets: readonly Target[],
): readonly Row[] {
  const image = `${formatBytes(imageBytes)} in ${layers} layers, ${atOnce} at a time`;
  const judged = (figure: string, { setup }: LateFigures): string =>
    verdict(targets, lateName(figure, setup));
  return setups.flatMap((figures) => [
    [`LATE NODE, ${figures.setup}, ${image}`, 'sender', 'receiver', 'both', 'target'],
    ['throughput, MiB/s', '', '', formatSpread(figures.rate, 0), judged('rate', figures)],
    [
      'CPU of the node, s/GiB',
      formatSpread(figures.sender.cpu, 2),
      formatSpread(figures.receiver.cpu, 2),
      formatSpread(figures.cpu, 2),
      judged('CPU', figures),
    ],
    ...threadRows(figures),
    sidesRow('memory, most, MiB', figures, ({ resident }) => formatSpread(resident, 0)),
    sidesRow('event loop late, ms, p50 / p99 / most', figures, ({ loopDelay: { p50, p99, max } }) =>
      [p50, p99, max].map((each) => each.toFixed(1)).join(' / '),
    ).concat('', judged('event loop', figures)),
    [
      'CPU of the first pull from the registry, s/GiB',
      formatSpread(figures.first.cpu, 2),
      '',
      '',
      judged('CPU, cold', figures),
    ],
    ['  of this, main', formatSpread(mainOf(figures.first), 2), '', '', judged('main thread, cold', figures)],
    ['a plain write to a new file, CPU s/GiB', '', formatSpread(figures.plainWrite, 2)],
    ['share from the registry instead of the peer', '', formatSpread(figures.upstreamShare, 3)],
    ['cores that the client kept busy', '', '', formatSpread(figures.readerBusy, 2)],
    [],
  ]);
}

function threadRows({ sender, receiver }: LateFigures): readonly Row[] {
  const names = new Set([sender, receiver].flatMap(({ threads }) => Object.keys(threads)));
  return [...names]
    .filter((name) => [sender, receiver].some(({ threads }) => (threads[name]?.max ?? 0) >= SHOWN_FROM))
    .map((name) => {
      const cell = ({ threads }: CpuFigures): string => formatSpread(threads[name] ?? NONE, 2);
      return [`  of this, ${name}`, cell(sender), cell(receiver)];
    });
}

function mainOf({ threads }: CpuFigures): Spread {
  return threads[MAIN] ?? NONE;
}

function sidesRow(name: string, { sender, receiver }: LateFigures, cell: (side: SideFigures) => string): Row {
  return [name, cell(sender), cell(receiver)];
}
