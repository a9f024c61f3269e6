/**
 * Requests to the admin address that change the node: JSON, with the token of the data folder (admin-token.ts). The admin
 * server has turned away web pages and other machines before.
 */
import type { IncomingMessage } from 'node:http';
import * as v from 'valibot';
import { KIB } from '../util/clock.ts';
import type { AdminToken } from './admin-token.ts';

/** Bytes of a body: what can be said has a few dozen. */
const MAX_BODY = 4 * KIB;
const IS_JSON = /^application\/json *(?:;|$)/i;

export type Change<T> =
  | { readonly kind: 'change'; readonly value: T }
  | { readonly kind: 'refused'; readonly status: 400 | 401 | 413 | 415; readonly message: string };

/** Reads a change. @throws the connection's error */
export async function readChange<T>(
  request: IncomingMessage,
  token: AdminToken,
  schema: v.GenericSchema<unknown, T>,
): Promise<Change<T>> {
  const { authorization, 'content-type': type } = request.headers;
  if (!token.isGivenBy(authorization)) {
    return refused(401, 'Authorization: Bearer and the token in the file admin-token of the data folder');
  }
  if (!IS_JSON.test(type ?? '')) return refused(415, 'Content-Type: application/json');
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > MAX_BODY) return refused(413, `at most ${MAX_BODY} bytes`);
    parts.push(part);
  }
  const parsed = v.safeParse(schema, json(Buffer.concat(parts).toString('utf8')));
  if (parsed.success) return { kind: 'change', value: parsed.output };
  const [issue] = parsed.issues;
  return refused(400, `${v.getDotPath(issue) ?? 'the body'}: ${issue.message}`);
}

/** Undefined if it is no JSON, which no schema takes. */
function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refused(status: 400 | 401 | 413 | 415, message: string): Change<never> {
  return { kind: 'refused', status, message };
}
