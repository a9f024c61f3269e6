/** The members that a node knows as a table for people. Pure. */
import type { PeerReport, PeersReport } from '../../status/status-report.ts';
import { formatBytes, shortPeer } from './format.ts';
import { describeSuspicion } from './status-view.ts';
import { cut, paint, printable } from './terminal.ts';

export interface PeersViewOptions {
  /** Undefined: no limit, for a pipe. */
  readonly columns: number | undefined;
  readonly color: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Characters of a name or zone: longer ones would push the figures off the screen. */
const MAX_NAME = 24;

const HEAD = ['NAME', 'ZONE', 'STATE', 'LINK', 'RTT', 'SWARMS', 'FROM', 'TO', 'PEER'];
/** Columns of figures, aligned to the right. */
const RIGHT: ReadonlySet<number> = new Set([4, 5, 6, 7]);

export function renderPeers({ peers }: PeersReport, options: PeersViewOptions): readonly string[] {
  if (peers.length === 0) return ['no other member is known'];
  const sorted = [...peers].sort((a, b) => a.zone.localeCompare(b.zone) || a.name.localeCompare(b.name));
  const rows = [HEAD, ...sorted.map((peer) => cellsOf(peer, options.now))];
  const widths = HEAD.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  return rows.map((row, index) => {
    const cells = row.map((cell, at) =>
      RIGHT.has(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
    );
    const line = cells.join('  ').trimEnd();
    const fitted = options.columns === undefined ? line : cut(line, options.columns);
    if (!options.color) return fitted;
    if (index === 0) return paint('bold', fitted);
    return sorted[index - 1]?.suspect === undefined ? fitted : paint('yellow', fitted);
  });
}

function cellsOf(peer: PeerReport, now: number): readonly string[] {
  const directions = { inbound: 'in', outbound: 'out' } as const;
  return [
    cut(printable(peer.name), MAX_NAME),
    cut(peer.zone === '' ? '–' : printable(peer.zone), MAX_NAME),
    stateOf(peer, now),
    peer.connected ? (peer.direction === undefined ? 'yes' : directions[peer.direction]) : '–',
    peer.rtt_ms === undefined ? '–' : `${peer.rtt_ms.toFixed(1)} ms`,
    String(peer.swarms),
    formatBytes(peer.from_bytes),
    formatBytes(peer.to_bytes),
    shortPeer(peer.peer),
  ];
}

function stateOf(peer: PeerReport, now: number): string {
  if (peer.suspect !== undefined) return describeSuspicion(peer.suspect, now);
  return peer.leaving ? 'leaving' : 'live';
}
