/** Follows a pull by its events, and draws its progress as lines of a terminal. Pure: no clock, no output. */
import type { Digest } from '../../oci/digest.ts';
import { formatBytes, formatPart, formatRate, shortDigest } from './format.ts';
import type { PlannedBlob, PullEvent } from './pull-image.ts';
import { paint } from './terminal.ts';

/** Blobs with a line of their own: an image of more blobs must still fit on a screen of 24 lines. */
const MAX_LINES = 14;

/** Columns beside the bar: role and digest 24, sizes 20, rate or source 13, and one spare. */
const FIXED_COLUMNS = 58;
const MIN_BAR = 8;
const MAX_BAR = 40;

interface BlobProgress {
  readonly blob: PlannedBlob;
  received: number;
  state: 'waiting' | 'running' | 'done';
  source: string;
  retries: number;
}

export interface RenderOptions {
  readonly columns: number;
  readonly color: boolean;
  /** Since the pull began. */
  readonly seconds: number;
}

export class PullProgress {
  readonly #blobs = new Map<Digest, BlobProgress>();

  apply(event: PullEvent): void {
    if (event.kind === 'planned') {
      for (const blob of event.blobs) {
        this.#blobs.set(blob.digest, { blob, received: 0, state: 'waiting', source: '', retries: 0 });
      }
      return;
    }
    const progress = this.#blobs.get(event.blob.digest);
    if (progress === undefined) return;
    if (event.kind === 'started') progress.state = 'running';
    else if (event.kind === 'bytes') progress.received = event.received;
    else if (event.kind === 'retry') progress.retries += 1;
    else {
      progress.state = 'done';
      progress.received = event.blob.size;
      progress.source = event.result.source;
    }
  }

  get received(): number {
    return [...this.#blobs.values()].reduce((sum, { received }) => sum + received, 0);
  }

  get total(): number {
    return [...this.#blobs.values()].reduce((sum, { blob }) => sum + blob.size, 0);
  }

  /** Numbers of finished blobs and of all blobs. */
  get count(): { readonly done: number; readonly all: number } {
    const states = [...this.#blobs.values()];
    return { done: states.filter(({ state }) => state === 'done').length, all: states.length };
  }

  /** A line per blob, and the total. */
  render(options: RenderOptions): readonly string[] {
    if (this.#blobs.size === 0) return ['  resolving'];
    const all = [...this.#blobs.values()];
    const shown =
      all.length <= MAX_LINES ? all : all.filter(({ state }) => state === 'running').slice(0, MAX_LINES);
    const width = Math.max(MIN_BAR, Math.min(MAX_BAR, options.columns - FIXED_COLUMNS));
    const lines = shown.map((progress) => blobLine(progress, width, options.color));
    if (shown.length < all.length) {
      lines.push(`  ${this.count.done} of ${all.length} blobs done`);
    }
    const { received, total } = this;
    const rate = options.seconds > 0 ? formatRate(received, options.seconds) : '';
    const bar = drawBar(received, total, width, options.color, 'cyan');
    lines.push(`  ${'total'.padEnd(20)}  ${bar}  ${formatPart(received, total).padStart(18)}  ${rate}`);
    return lines;
  }
}

function blobLine(progress: BlobProgress, width: number, color: boolean): string {
  const { blob, received, state, source } = progress;
  const size = state === 'running' ? formatPart(received, blob.size) : formatBytes(blob.size);
  const done = state === 'done';
  const bar = drawBar(done ? 1 : received, done ? 1 : blob.size, width, color, done ? 'green' : 'cyan');
  const retried = progress.retries === 0 ? '' : `retried ${progress.retries}×`;
  const note = source === '' ? retried : source;
  return `  ${blob.role.padEnd(6)}  ${shortDigest(blob.digest)}  ${bar}  ${size.padStart(18)}  ${note}`.trimEnd();
}

function drawBar(part: number, whole: number, width: number, color: boolean, tone: 'green' | 'cyan'): string {
  const filled = whole === 0 ? 0 : Math.min(width, Math.floor((part / whole) * width));
  const [full, empty] = ['━'.repeat(filled), '─'.repeat(width - filled)];
  if (!color) return full + empty;
  return paint(tone, full) + paint('dim', empty);
}
