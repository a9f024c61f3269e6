/** docker-registry's access log (Apache's combined format), with which tests count the bytes that upstream sent. */
import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds without a line after which no more lines are expected. */
const QUIET = 500;

export interface Access {
  /** Address of the client. */
  readonly client: string;
  readonly method: string;
  /** Path with its query. */
  readonly path: string;
  readonly status: number;
  /** Bytes of the body that were sent. */
  readonly bytes: number;
  readonly userAgent: string;
}

const COMBINED = /^(\S+) \S+ \S+ \[[^\]]+\] "(\S+) (\S+) [^"]+" (\d{3}) (\d+) "[^"]*" "([^"]*)"/;

/** The access in one line of the log; undefined if the line is another message. */
export function parseAccess(line: string): Access | undefined {
  const match = COMBINED.exec(line);
  if (match === null) return undefined;
  const [, client = '', method = '', path = '', status, bytes, userAgent = ''] = match;
  return { client, method, path, status: Number(status), bytes: Number(bytes), userAgent };
}

export class AccessLog {
  #entries: Access[] = [];

  add(line: string): void {
    const access = parseAccess(line);
    if (access !== undefined) this.#entries.push(access);
  }

  clear(): void {
    this.#entries = [];
  }

  /** Accesses whose path holds `part`, in the order in which they ended. */
  matching(part: string | RegExp, method?: string): readonly Access[] {
    return this.#entries.filter(
      (access) =>
        (typeof part === 'string' ? access.path.includes(part) : part.test(access.path)) &&
        (method === undefined || access.method === method),
    );
  }

  /** Waits until nothing was logged for a while: a request is logged at its end, perhaps after its client has all. */
  async settled(): Promise<void> {
    for (let before = -1; before !== this.#entries.length;) {
      before = this.#entries.length;
      await delay(QUIET);
    }
  }

  /** Bytes of bodies sent for paths that hold `part`. */
  bytes(part: string | RegExp): number {
    return this.matching(part, 'GET').reduce((sum, access) => sum + access.bytes, 0);
  }
}
