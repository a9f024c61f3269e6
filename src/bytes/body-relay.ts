/** Relays a body to the main thread in buffers of its own, of which a bounded number is under way. */
import { abortable } from '../util/async.ts';
import { KIB } from '../util/clock.ts';
import { readPart } from '../upstream/blob-part.ts';
import { abortError } from '../upstream/failure.ts';
import type { Response } from '../upstream/response.ts';
import type { Post } from './byte-worker.ts';
import type { BodyCommand, RelayCommand } from './upstream-messages.ts';
import type { BodyEnd, BodyReading } from './upstream-part.ts';

/** Bytes of one message, and messages that the main thread has not taken. */
const MAX_BYTES = 256 * KIB;
const MAX_UNDER_WAY = 4;

export class BodyRelay implements BodyReading {
  readonly #command: RelayCommand;
  readonly #post: Post<'upstream'>;
  readonly #response: Response;
  readonly #signal: AbortSignal;
  #position: number;
  #underWay = 0;
  #taken = Promise.withResolvers<void>();

  constructor(command: RelayCommand, post: Post<'upstream'>, response: Response, signal: AbortSignal) {
    this.#command = command;
    this.#post = post;
    this.#response = response;
    this.#signal = signal;
    this.#position = command.part.start;
  }

  receive({ kind }: BodyCommand): void {
    if (kind !== 'taken') return;
    this.#underWay--;
    this.#taken.resolve();
    this.#taken = Promise.withResolvers();
  }

  async run(): Promise<void> {
    const { call, part } = this.#command;
    for await (const buffer of readPart(this.#response, part)) {
      for (let at = 0; at < buffer.length; at += MAX_BYTES) {
        while (this.#underWay >= MAX_UNDER_WAY) {
          await abortable(this.#taken.promise, this.#signal, abortError);
        }
        // Copied: a buffer of the socket may hold the next bytes of the connection, too.
        const bytes = new Uint8Array(buffer.subarray(at, at + MAX_BYTES));
        this.#underWay++;
        this.#position += bytes.length;
        this.#post({ kind: 'bytes', call, position: this.#position, bytes }, [bytes.buffer]);
      }
    }
  }

  get end(): BodyEnd {
    return { position: this.#position, chunks: [], left: undefined };
  }
}
