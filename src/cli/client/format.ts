/** Numbers for people: short and rounded. config/units.ts writes numbers that are read back. */
import { digestHex, type Digest } from '../../oci/digest.ts';
import type { PeerId } from '../../protocol/peer-id.ts';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `512 B`, `61.2 MiB` */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1023.95 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** `12.0 / 20.0 MiB`: both in the unit of the whole. */
export function formatPart(part: number, whole: number): string {
  const formatted = formatBytes(whole);
  const unit = formatted.slice(formatted.indexOf(' ') + 1);
  const index = UNITS.findIndex((name) => name === unit);
  const value = part / 1024 ** Math.max(0, index);
  return `${index <= 0 ? Math.round(value) : value.toFixed(1)} / ${formatted}`;
}

/** `38 ms`, `2.52 s`, `3 m 07 s` */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.995) return `${seconds.toFixed(2)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, '0')} s`;
}

/** For long times: `42 s`, `3 m`, `5 h 12 m`, `9 d 3 h`. */
export function formatAge(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} m`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${minutes % 60} m` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** `61 %`; 100 only if nothing is missing. */
export function formatShare(part: number, whole: number): string {
  if (whole <= 0) return '–';
  const percent = (part / whole) * 100;
  return `${percent < 100 ? Math.min(99, Math.floor(percent)) : Math.round(percent)} %`;
}

/** `49.8 MiB/s` */
export function formatRate(bytes: number, seconds: number): string {
  return seconds > 0 ? `${formatBytes(bytes / seconds)}/s` : '–';
}

/** The end of a peer ID, as peer IDs begin alike. */
export function shortPeer(peer: PeerId): string {
  return `…${peer.slice(-8)}`;
}

/** The first 12 digits, as docker and podman show. */
export function shortDigest(digest: Digest): string {
  return digestHex(digest).slice(0, 12);
}
