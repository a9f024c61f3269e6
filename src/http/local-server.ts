/**
 * An HTTP server for programs. A browser can make no use of its answers: each one carries {@link SAFE_HEADERS}, also
 * answers that node:http would give by itself.
 */
import {
  createServer,
  STATUS_CODES,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { systemCode } from '../util/errors.ts';

/**
 * A registry chooses much of the content, so a page must not be able to run it, show it or read it:
 *   nosniff          JSON stays JSON, whatever it looks like
 *   sandbox          a document has no origin of its own, runs no script and loads nothing; no page can frame it
 *   same-origin      no other site gets the bytes into its process, also without CORS
 */
export const SAFE_HEADERS: ReadonlyMap<string, string> = new Map([
  ['X-Content-Type-Options', 'nosniff'],
  ['Content-Security-Policy', "sandbox; default-src 'none'; frame-ancestors 'none'"],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
]);

/** The status for each error code of node:http's parser; 400 for all others. */
const MALFORMED: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
};

/** The caller must check that there is a Host header, and its value (web-guard.ts). */
export function createLocalServer(
  options: ServerOptions,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const server = createServer({ ...options, requireHostHeader: false });
  /** The newest response of each connection. */
  const responses = new WeakMap<Socket, ServerResponse>();
  // Otherwise node:http would answer the latter by itself.
  for (const event of ['request', 'checkExpectation']) {
    server.on(event, (request: IncomingMessage, response: ServerResponse) => {
      responses.set(request.socket, response);
      response.setHeaders(SAFE_HEADERS as Map<string, string>);
      onRequest(request, response);
    });
  }
  server.on('clientError', (error: Error, socket: Socket) => {
    const response = responses.get(socket);
    const isMidway = response !== undefined && response.headersSent && !response.writableFinished;
    if (socket.writable && !isMidway) socket.write(refusal(MALFORMED[systemCode(error) ?? ''] ?? 400));
    socket.destroySoon();
  });
  return server;
}

function refusal(status: number): string {
  const safe = [...SAFE_HEADERS].map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${safe}`;
  return `${head}Connection: close\r\nContent-Length: 0\r\n\r\n`;
}
