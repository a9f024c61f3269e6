/** A registry, or its token server, that answers from an input; no socket is opened. */
import type { Dispatcher } from 'undici';
import type { Headers, Response } from '../../../src/upstream/response.ts';
import { send, type SendOptions } from '../../../src/upstream/send.ts';

/** Separates the answers in an input; no header can contain it. */
export const BETWEEN = '\n~\n';

/** Characters of a header: undici refuses more (pools.ts). */
const MAX_HEADER = 32 * 1024;
/** Bytes of a body that arrive at once; 1 in an answer with `x-small`. */
const PART = 64 * 1024;
/** Bytes of the body of an answer with `x-long`. */
const LONG_BODY = 512 * 1024;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

/**
 * Reads `401\nname: value\n\nbody`. Headers are as in undici: names in lower case, values in Latin-1 without line
 * breaks, a list for a repeated name.
 */
export function answerOf(text: string): Answer {
  const end = text.indexOf('\n\n');
  const [first = '', ...lines] = text
    .slice(0, Math.min(MAX_HEADER, end === -1 ? text.length : end))
    .split('\n');
  const status = Number.parseInt(first, 10);
  const headers: Record<string, string | string[]> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase().trim();
    if (!/^[a-z0-9-]{1,40}$/.test(name)) continue;
    const value = line
      .slice(colon + 1)
      .replaceAll(/[\0\r]/g, ' ')
      .trim();
    const known = headers[name];
    if (typeof known === 'object') known.push(value);
    else headers[name] = known === undefined ? value : [known, value];
  }
  const body = Buffer.from(end === -1 ? '' : text.slice(end + 2), 'latin1');
  const isLong = headers['x-long'] !== undefined && body.length > 0;
  return {
    status: status >= 200 && status <= 599 ? status : 200,
    headers,
    body: isLong && headers['x-small'] === undefined ? Buffer.alloc(LONG_BODY, body) : body,
  };
}

export function answersOf(input: Buffer): readonly Answer[] {
  return input.toString('latin1').split(BETWEEN).map(answerOf);
}

/** Gives the answers in order, then the last one for ever. */
export class Script {
  readonly #answers: readonly Answer[];
  #next = 0;

  constructor(answers: readonly Answer[]) {
    this.#answers = answers;
  }

  get sent(): number {
    return this.#next;
  }

  send(options: SendOptions): Promise<Response> {
    return send(this.dispatcher, options);
  }

  get dispatcher(): Dispatcher {
    const dispatch = (_options: unknown, handler: Dispatcher.DispatchHandler): boolean => {
      this.#answer(handler);
      return true;
    };
    return { dispatch } as unknown as Dispatcher;
  }

  #answer(handler: Dispatcher.DispatchHandler): void {
    const answer = this.#answers[Math.min(this.#next++, this.#answers.length - 1)];
    if (answer === undefined) throw new Error('a script without an answer');
    const state = { isAborted: false };
    const controller = {
      abort: (reason: Error) => {
        state.isAborted = true;
        handler.onResponseError?.(controller, reason);
      },
      pause: () => undefined,
      resume: () => undefined,
    } as unknown as Dispatcher.DispatchController;
    handler.onRequestStart?.(controller, {});
    if (!state.isAborted) {
      handler.onResponseStart?.(controller, answer.status, answer.headers as Record<string, string>);
    }
    const size = answer.headers['x-small'] === undefined ? PART : 1;
    for (let at = 0; at < answer.body.length && !state.isAborted; at += size) {
      handler.onResponseData?.(controller, answer.body.subarray(at, at + size));
    }
    if (!state.isAborted) handler.onResponseEnd?.(controller, {});
  }
}
