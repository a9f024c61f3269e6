/** Hands a body to a blob that passes through this worker, as fast as its client takes it. */
import { readPart } from '../upstream/blob-part.ts';
import { PacedReport } from './paced-report.ts';
import { passOf } from './pass.ts';
import type { PassCommand } from './upstream-messages.ts';
import type { BodyEnd, BodyReading, ReadingParts } from './upstream-part.ts';

export class BodyPass implements BodyReading {
  readonly #command: PassCommand;
  readonly #response: ReadingParts['response'];
  readonly #report: PacedReport;
  #position: number;

  constructor(command: PassCommand, { post, response }: ReadingParts) {
    const { call, part } = command;
    this.#command = command;
    this.#response = response;
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
      pass.onWanted = () => this.#response.more();
      await readPart(this.#response, this.#command.part, (bytes) => {
        const taken = pass.take(bytes);
        this.#position += taken;
        if (taken > 0) this.#report.soon();
        return taken;
      });
    } finally {
      pass.onWanted = undefined;
      this.#report.stop();
    }
  }

  get end(): BodyEnd {
    return { position: this.#position, chunks: [], left: undefined };
  }
}
