/** The entry point of the `weir` command; started by the launcher `weir` beside it. */
import manifest from '../../package.json' with { type: 'json' };
import { SECOND } from '../util/clock.ts';
import { systemCode } from '../util/errors.ts';
import { runCli } from './program.ts';

/** Milliseconds after a command's end by which what it left open (a socket that closes slowly) is given up. */
const LINGER = 2 * SECOND;

/** 128 + SIGPIPE, as of any program whose reader has left (`weir status --watch | head`). */
const BROKEN_PIPE = 141;
for (const output of [process.stdout, process.stderr]) {
  output.on('error', (error) => {
    if (systemCode(error) === 'EPIPE') process.exit(BROKEN_PIPE);
    throw error;
  });
}

process.exitCode = await runCli(process.argv.slice(2), {
  version: manifest.version,
  env: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
});
// Not at once: output that is still on its way into a pipe would be lost.
setTimeout(() => process.exit(), LINGER).unref();
