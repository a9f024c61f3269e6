/** A request written byte by byte, as neither fetch nor node:http would send it. */
import { connect } from 'node:net';
import { once } from 'node:events';

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes behind the header, with any transfer coding. */
  readonly body: string;
}

/**
 * Sends the lines of a request's head, and reads until the other side closes.
 * @param url names address and port; the request is as `lines` say
 */
export async function sendRaw(url: string, ...lines: readonly string[]): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(rawRequest(...lines));
  const parts: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => parts.push(chunk));
  await once(socket, 'end');
  socket.destroy();
  return parseAnswer(Buffer.concat(parts).toString('latin1'));
}

/** The connection is to be closed after the answer. */
export function rawRequest(...lines: readonly string[]): string {
  return [...lines, 'Connection: close', '', ''].join('\r\n');
}

export function parseAnswer(text: string): RawAnswer {
  const end = text.indexOf('\r\n\r\n');
  const [first = '', ...rest] = text.slice(0, end).split('\r\n');
  const headers = rest.map((line): [string, string] => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return {
    status: Number(first.split(' ')[1]),
    headers: Object.fromEntries(headers),
    body: text.slice(end + 4),
  };
}
