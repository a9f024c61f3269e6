/** Debian's Prometheus, which scrapes nodes under test each second and evaluates a file of rules. */
import { writeFile } from 'node:fs/promises';
import { Program } from './program.ts';
import { TempDir } from './temp.ts';

export interface PrometheusOptions {
  /** `127.0.0.1:PORT` of the targets. */
  readonly targets: readonly string[];
  readonly rules: string;
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface RuleState {
  readonly name: string;
  readonly query: string;
  /** `unknown` until it was evaluated. */
  readonly health: 'ok' | 'err' | 'unknown';
  readonly lastError?: string;
  readonly alerts: readonly {
    readonly state: 'pending' | 'firing';
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  }[];
}

interface Answer<T> {
  readonly status: 'success' | 'error';
  readonly data: T;
  readonly error?: string;
  readonly warnings?: readonly string[];
}

export class Prometheus implements AsyncDisposable {
  readonly url: string;
  readonly #dir: TempDir;
  readonly #program: Program;

  private constructor(dir: TempDir, program: Program, address: string) {
    this.url = `http://${address}`;
    this.#dir = dir;
    this.#program = program;
  }

  static async start({ targets, rules }: PrometheusOptions): Promise<Prometheus> {
    const dir = await TempDir.create('prometheus');
    try {
      const config = {
        global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
        rule_files: [rules],
        scrape_configs: [{ job_name: 'weir', static_configs: [{ targets }] }],
      };
      await writeFile(dir.join('prometheus.yml'), JSON.stringify(config)); // is YAML
      const program = await Program.start({
        command: 'prometheus',
        args: [
          `--config.file=${dir.join('prometheus.yml')}`,
          `--storage.tsdb.path=${dir.join('data')}`,
          '--web.listen-address=127.0.0.1:0',
        ],
      });
      const [, address = ''] = await program.line(/msg="Listening on" address=(\S+)/);
      await program.line(/msg="Server is ready to receive web requests/);
      return new Prometheus(dir, program, address);
    } catch (error) {
      await dir[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The instant vector, or the scalar, that the expression gives now. @throws Error with the problem of Prometheus */
  async query(expr: string): Promise<readonly Sample[]> {
    const { result } = await this.#get<{
      result: readonly { metric: Sample['labels']; value: [number, string] }[];
    }>(`/api/v1/query?query=${encodeURIComponent(expr)}`);
    return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }));
  }

  /** The only value that the expression gives. */
  async value(expr: string): Promise<number> {
    const samples = await this.query(expr);
    const [first] = samples;
    if (first === undefined || samples.length > 1) throw new Error(`${samples.length} values of ${expr}`);
    return first.value;
  }

  async rules(): Promise<readonly RuleState[]> {
    const { groups } = await this.#get<{ groups: readonly { rules: readonly RuleState[] }[] }>(
      '/api/v1/rules',
    );
    return groups.flatMap(({ rules }) => rules);
  }

  /** Values of a label: what a variable of Grafana asks for. */
  async labelValues(label: string, match: string): Promise<readonly string[]> {
    return this.#get(`/api/v1/label/${label}/values?match[]=${encodeURIComponent(match)}`);
  }

  async #get<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path);
    const { status, data, error, warnings = [] } = (await response.json()) as Answer<T>;
    if (status !== 'success' || warnings.length > 0)
      throw new Error(`${decodeURIComponent(path)}: ${error ?? warnings.join(', ')}`);
    return data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
    await this.#dir[Symbol.asyncDispose]();
  }
}
