/** Numbers for people: short and rounded. For what is read back, see config/units.ts. */
import { digestHex, type Digest } from '../oci/digest.ts';

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

/** `49.8 MiB/s` */
export function formatRate(bytes: number, seconds: number): string {
  return seconds > 0 ? `${formatBytes(bytes / seconds)}/s` : '–';
}

/** The first 12 digits, as docker and podman show them. */
export function shortDigest(digest: Digest): string {
  return digestHex(digest).slice(0, 12);
}
