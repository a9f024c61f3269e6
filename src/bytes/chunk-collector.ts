/** Puts chunks together in places as their bytes arrive, and hashes each when it is whole. */
import { hash } from 'node:crypto';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import { readPart } from '../upstream/blob-part.ts';
import { PacedReport } from './paced-report.ts';
import type { BodyCommand, CollectCommand } from './upstream-messages.ts';
import type { BodyEnd, BodyReading, ReadingParts } from './upstream-part.ts';

interface Arriving {
  readonly place: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  filled: number;
}

export class ChunkCollector implements BodyReading {
  readonly #command: CollectCommand;
  readonly #parts: ReadingParts;
  readonly #layout: ChunkLayout;
  #position: number;
  /** The chunk of {@link #position}; undefined before its first byte: until then it takes no memory. */
  #arriving: Arriving | undefined;
  /** Chunks that may be begun; the first chunk for which that was not asked. */
  #granted = 0;
  #unasked: number;
  readonly #report = new PacedReport(() => this.#tell());

  constructor(command: CollectCommand, parts: ReadingParts) {
    this.#command = command;
    this.#parts = parts;
    this.#layout = new ChunkLayout(command.size);
    this.#position = command.part.start;
    const index = this.#layout.indexOf(this.#position);
    this.#unasked = index;
    if (command.place === undefined) return;
    const filled = this.#position - this.#layout.start(index);
    this.#arriving = { place: command.place, bytes: parts.places.at(command.place), filled };
    this.#unasked = index + 1;
  }

  receive({ kind }: BodyCommand): void {
    if (kind !== 'begin') return;
    this.#granted++;
    this.#parts.response.more();
  }

  async run(): Promise<void> {
    const { response } = this.#parts;
    try {
      await readPart(response, this.#command.part, (bytes) => this.#takeAll(bytes));
    } finally {
      this.#report.stop();
    }
  }

  get end(): BodyEnd {
    const { places } = this.#parts;
    const position = this.#position;
    const arriving = this.#arriving;
    this.#arriving = undefined;
    if (arriving !== undefined && arriving.filled > 0) {
      const { place, filled, bytes } = arriving;
      const left = { index: this.#layout.indexOf(position), place, length: bytes.length, filled };
      return { position, chunks: [], left };
    }
    if (arriving !== undefined) places.give(arriving.place);
    return { position, chunks: [], left: undefined };
  }

  /** @returns the number of bytes that it took */
  #takeAll(bytes: Uint8Array): number {
    let taken = 0;
    while (taken < bytes.length) {
      const arriving = (this.#arriving ??= this.#begin());
      if (arriving === undefined) break;
      taken += this.#take(bytes.subarray(taken), arriving);
    }
    return taken;
  }

  #take(bytes: Uint8Array, arriving: Arriving): number {
    const index = this.#layout.indexOf(this.#position);
    const part = bytes.subarray(0, arriving.bytes.length - arriving.filled);
    arriving.bytes.set(part, arriving.filled);
    arriving.filled += part.length;
    this.#position += part.length;
    if (2 * arriving.filled >= arriving.bytes.length) this.#ask(index + 1);
    if (arriving.filled === arriving.bytes.length) this.#whole(index, arriving);
    else this.#report.soon();
    return part.length;
  }

  /** Undefined: nothing is taken until there is room for the chunk. */
  #begin(): Arriving | undefined {
    const index = this.#layout.indexOf(this.#position);
    this.#ask(index);
    if (this.#granted === 0) return undefined;
    this.#granted--;
    return { ...this.#parts.places.take(this.#layout.length(index)), filled: 0 };
  }

  /** Asks one chunk ahead, so that the body does not stop between two chunks. */
  #ask(index: number): void {
    if (index < this.#unasked || this.#layout.start(index) >= this.#command.part.end) return;
    this.#unasked = index + 1;
    this.#parts.post({ kind: 'want', call: this.#command.call, index });
  }

  #whole(index: number, { place, bytes }: Arriving): void {
    this.#arriving = undefined;
    this.#report.stop();
    const chunk = {
      index,
      place,
      length: bytes.length,
      hash: new Uint8Array(hash('sha256', bytes, 'buffer')),
    };
    this.#parts.post({ kind: 'chunk', call: this.#command.call, position: this.#position, chunk });
  }

  #tell(): void {
    this.#parts.post({
      kind: 'progress',
      call: this.#command.call,
      position: this.#position,
      chunks: [],
    });
  }
}
