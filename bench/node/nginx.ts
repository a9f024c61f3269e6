/** nginx as the yardstick of a warm hit: one worker, sendfile, on the very files that the node serves. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Program } from '../../test/support/program.ts';
import { accepts, freePort } from '../../test/support/ports.ts';

/** Tries: another process may take the port between the search and nginx' start. */
const MAX_TRIES = 3;

const TEMP_PATHS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

export interface NginxOptions {
  readonly program: string;
  /** Folder that it serves. */
  readonly root: string;
  /** Folder for its configuration and temporary files. */
  readonly folder: string;
}

export class Nginx implements AsyncDisposable {
  readonly url: string;
  readonly #program: Program;

  private constructor(url: string, program: Program) {
    this.url = url;
    this.#program = program;
  }

  static async start(options: NginxOptions): Promise<Nginx> {
    for (let tries = 1; ; tries++) {
      const port = await freePort();
      const program = await launch(options, port);
      try {
        await program.until(() => accepts(port));
        return new Nginx(`http://127.0.0.1:${port}`, program);
      } catch (error) {
        await program.stop('SIGKILL');
        if (tries === MAX_TRIES) throw error;
      }
    }
  }

  /** PID of the master; the worker is its child. */
  get pid(): number {
    return this.#program.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
  }
}

async function launch({ program, root, folder }: NginxOptions, port: number): Promise<Program> {
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'nginx.conf');
  await writeFile(config, configuration(root, folder, port));
  return Program.start({ command: program, args: ['-p', folder, '-e', 'stderr', '-c', config] });
}

function configuration(root: string, folder: string, port: number): string {
  // Started by root it would read as another user, who cannot open the node's data folder.
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const temp = TEMP_PATHS.map((name) => `${name}_temp_path ${join(folder, name)};`).join(' ');
  return `
    daemon off; worker_processes 1; ${user} pid ${join(folder, 'nginx.pid')}; error_log stderr;
    events { worker_connections 512; }
    http {
      sendfile on; tcp_nopush on; access_log off; keepalive_requests 100000; ${temp}
      default_type application/octet-stream;
      server { listen 127.0.0.1:${port}; root ${root}; }
    }
  `;
}
