/** Hands a body to a blob that passes through this worker, as fast as its client takes it. */
import { readPart } from '../upstream/blob-part.ts';
import type { Response } from '../upstream/response.ts';
import type { Post } from './byte-worker.ts';
import { PacedReport } from './paced-report.ts';
import { passOf } from './pass.ts';
import type { PassCommand } from './upstream-messages.ts';
import type { BodyEnd, BodyReading } from './upstream-part.ts';

export class BodyPass implements BodyReading {
  readonly #command: PassCommand;
  readonly #response: Response;
  readonly #signal: AbortSignal;
  readonly #report: PacedReport;
  #position: number;

  constructor(command: PassCommand, post: Post<'upstream'>, response: Response, signal: AbortSignal) {
    const { call, part } = command;
    this.#command = command;
    this.#response = response;
    this.#signal = signal;
    this.#position = part.start;
    this.#report = new PacedReport(() =>
      post({ kind: 'progress', call, position: this.#position, chunks: [] }),
    );
  }

  /** Nothing is asked for. */
  receive(): void {}

  async run(): Promise<void> {
    const pass = passOf(this.#command.pass);
    try {
      for await (const bytes of readPart(this.#response, this.#command.part)) {
        this.#position += bytes.length;
        this.#report.soon();
        await pass.write(bytes, this.#signal);
      }
    } finally {
      this.#report.stop();
    }
  }

  get end(): BodyEnd {
    return { position: this.#position, chunks: [], left: undefined };
  }
}
