/** Speaks to the inspector of a running Node.js (Chrome DevTools Protocol). */
import { once } from 'node:events';

/** For NODE_OPTIONS of the process; it logs where its inspector listens. */
export const INSPECT = '--inspect=127.0.0.1:0';

const LISTENING = /Debugger listening on (ws:\S+)/g;

export class Inspector implements Disposable {
  readonly #socket: WebSocket;
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** @param log the output of the process */
  static async connect(log: string): Promise<Inspector> {
    const url = [...log.matchAll(LISTENING)].at(-1)?.[1];
    if (url === undefined) throw new Error('the process did not say where its inspector listens');
    const inspector = new Inspector(new WebSocket(url));
    await once(inspector.#socket, 'open');
    return inspector;
  }

  /** The value of an expression on the main thread, which JSON can carry. */
  async evaluate(expression: string): Promise<unknown> {
    const answer = await this.call('Runtime.evaluate', { expression, returnByValue: true });
    const { result, exceptionDetails } = answer as {
      result: { value?: unknown };
      exceptionDetails?: { text: string; exception?: { description?: string } };
    };
    if (exceptionDetails === undefined) return result.value;
    throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  }

  async call(method: string, params: object = {}): Promise<unknown> {
    this.#id += 1;
    const id = this.#id;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const onMessage = ({ data }: MessageEvent): void => {
      const answer = JSON.parse(String(data)) as {
        id?: number;
        result?: unknown;
        error?: { message: string };
      };
      if (answer.id !== id) return;
      if (answer.error === undefined) resolve(answer.result);
      else reject(new Error(`${method}: ${answer.error.message}`));
    };
    const onClose = (): void => reject(new Error(`${method}: the process has ended`));
    this.#socket.addEventListener('message', onMessage);
    this.#socket.addEventListener('close', onClose);
    this.#socket.send(JSON.stringify({ id, method, params }));
    try {
      return await promise;
    } finally {
      this.#socket.removeEventListener('message', onMessage);
      this.#socket.removeEventListener('close', onClose);
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
