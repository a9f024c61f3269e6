/** Warm hits: a node that serves its store, against nginx with sendfile on the same file. */
import { GIB, MIB } from '../../src/util/clock.ts';
import { cpuSeconds } from '../support/process-usage.ts';
import { pair, type Pair } from '../../test/simulator/stats.ts';
import { readBlob } from './read-blob.ts';
import type { Scene } from './scene.ts';
import type { WarmScene } from './warm-scene.ts';

/** Reads of the blob in a turn: a turn shorter than two seconds shows chance. */
const READS_PER_TURN = 3;

export interface WarmFigures {
  /** MiB/s. */
  readonly rate: Pair;
  /** CPU seconds of the server per GiB. */
  readonly cpu: Pair;
  /** CPU seconds of the server per second. */
  readonly serverBusy: Pair;
  /** CPU seconds of the client per second: near 1 the client is the bound, and the rates are its own. */
  readonly readerBusy: Pair;
}

type Read = Record<keyof WarmFigures, number>;

interface Server {
  readonly pid: number;
  readonly url: string;
}

export async function measureWarm({ repeat, say, signal }: Scene, warm: WarmScene): Promise<WarmFigures> {
  const nginx = { pid: warm.nginx.pid, url: warm.nginxUrl(warm.large) };
  const weir = { pid: warm.node.pid, url: warm.weirUrl(warm.large) };
  const reads: { readonly nginx: Read; readonly weir: Read }[] = [];
  // The first turn is not counted, as for cold pulls.
  for (let turn = 0; turn <= repeat; turn++) {
    signal.throwIfAborted();
    const both = { nginx: await read(nginx), weir: await read(weir) };
    const rates = `${Math.round(both.nginx.rate)} MiB/s nginx, ${Math.round(both.weir.rate)} MiB/s weir`;
    say(`warm hit: ${rates}${turn === 0 ? ' (not counted)' : ''}`);
    if (turn > 0) reads.push(both);
  }
  const compare = (key: keyof Read): Pair =>
    pair(
      reads.map((both) => both.nginx[key]),
      reads.map((both) => both.weir[key]),
    );
  return {
    rate: compare('rate'),
    cpu: compare('cpu'),
    serverBusy: compare('serverBusy'),
    readerBusy: compare('readerBusy'),
  };
}

async function read({ pid, url }: Server): Promise<Read> {
  const before = await cpuSeconds(pid);
  const { bytes, seconds, cpuSeconds: reader } = await readBlob(url, READS_PER_TURN);
  const used = (await cpuSeconds(pid)) - before;
  return {
    rate: bytes / MIB / seconds,
    cpu: used / (bytes / GIB),
    serverBusy: used / seconds,
    readerBusy: reader / seconds,
  };
}
