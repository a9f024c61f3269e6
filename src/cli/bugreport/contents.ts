/** What a bug report holds: each file by itself, as a node that is down must not keep the others out. */
import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { release } from 'node:os';
import { presentConfig } from '../../config/present.ts';
import { MIB, SECOND } from '../../util/clock.ts';
import { errorMessage, systemCode } from '../../util/errors.ts';
import type { DoctorContext } from '../doctor/check.ts';
import type { DoctorReport } from '../doctor/doctor.ts';
import { Scrubber } from './scrub.ts';
import { secretsOf } from './secrets.ts';

/** Lines of the log: of a node under load some minutes, of an idle one days. */
const LOG_LINES = 2000;
/** Bytes of it; a line has some hundred. */
const MAX_LOG = 4 * MIB;
/** Milliseconds; a journal of some GiB on a slow disk takes a while. */
const JOURNAL_TIMEOUT = 15 * SECOND;
const UNIT = 'weir';

export interface ReportFile {
  readonly name: string;
  readonly text: string;
}

export interface Contents {
  readonly files: readonly ReportFile[];
  /** What is not in it, and why. */
  readonly missing: readonly string[];
}

export interface ContentsOptions {
  readonly doctor: DoctorReport;
  /** Undefined if the configuration cannot be read. */
  readonly context: DoctorContext | undefined;
  readonly version: string;
  /** A file with the node's log; undefined: the journal. */
  readonly log: string | undefined;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** All texts are scrubbed. */
export async function contentsOf(options: ContentsOptions): Promise<Contents> {
  const { doctor, context, version, now } = options;
  const scrubber = new Scrubber(context === undefined ? [] : await secretsOf(context.loaded, context.env));
  const files: ReportFile[] = [];
  const missing: string[] = [];
  const add = (name: string, value: unknown): unknown =>
    files.push({ name, text: `${JSON.stringify(scrubber.json(value), undefined, 2)}\n` });
  const leaveOut = (name: string, why: string): unknown => missing.push(scrubber.text(`${name}: ${why}`));
  add('about.json', {
    version,
    node: process.version,
    platform: `${process.platform}/${process.arch}`,
    kernel: release(),
    made: now.toISOString(),
  });
  add('doctor.json', doctor);
  if (context === undefined) {
    leaveOut('config.json, status.json, peers.json, metrics.txt', 'the configuration cannot be read');
    // Its secrets are not known, so they could not be taken out.
    leaveOut('log.txt', 'the configuration cannot be read, so its secrets are not known');
    return { files, missing };
  }
  add('config.json', presentConfig(context.loaded));
  try {
    const { status, peers, metrics } = await context.facts.node();
    add('status.json', status);
    add('peers.json', peers);
    files.push({ name: 'metrics.txt', text: scrubber.text(metrics) });
  } catch (error) {
    leaveOut('status.json, peers.json, metrics.txt', errorMessage(error));
  }
  try {
    files.push({ name: 'log.txt', text: scrubber.text(await logOf(options)) });
  } catch (error) {
    leaveOut('log.txt', errorMessage(error));
  }
  return { files, missing };
}

async function logOf({ log, signal }: ContentsOptions): Promise<string> {
  return lastLines(log === undefined ? await journal(signal) : await tailOf(log));
}

/** The first line may be cut: half of a secret would not be known as one. */
function lastLines(text: string): string {
  const lines = text.split('\n');
  return lines.slice(Math.max(0, lines.length - LOG_LINES - 1)).join('\n');
}

async function tailOf(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const start = Math.max(0, size - MAX_LOG);
  const buffer = Buffer.alloc(Math.min(size, MAX_LOG));
  const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
  const text = buffer.toString('utf8', 0, bytesRead);
  return start === 0 ? text : text.slice(text.indexOf('\n') + 1);
}

async function journal(signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const args = ['-u', UNIT, '-n', String(LOG_LINES), '--no-pager', '--quiet', '-o', 'short-iso'];
  const limits = { timeout: JOURNAL_TIMEOUT, maxBuffer: 2 * MAX_LOG, signal };
  execFile('journalctl', args, limits, (error, stdout) => {
    if (error === null && stdout.trim() !== '') return resolve(stdout);
    const isMissing = error !== null && systemCode(error) === 'ENOENT';
    const why = isMissing ? 'there is no journalctl here' : `the journal has nothing of the unit ${UNIT}`;
    return reject(new Error(`${why}; name a file with the log by --log`));
  });
  return await promise;
}
