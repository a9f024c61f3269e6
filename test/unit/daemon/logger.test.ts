import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { createLogger, serializeError, type CreateLoggerOptions } from '../../../src/daemon/logger.ts';
import { WeirError } from '../../../src/util/errors.ts';

async function logged(
  options: Partial<CreateLoggerOptions>,
  write: (logger: Awaited<ReturnType<typeof createLogger>>) => void,
): Promise<string> {
  let text = '';
  const destination = new Writable({
    write: (chunk: Buffer, _, done) => {
      text += chunk.toString();
      done();
    },
  });
  write(await createLogger({ level: 'info', format: 'auto', isTerminal: false, ...options, destination }));
  await new Promise((resolve) => setImmediate(resolve));
  return text;
}

describe('Logger', () => {
  it('writes JSON lines without a terminal, from its level on', async () => {
    const text = await logged({}, (logger) => {
      logger.debug('not this');
      logger.info({ address: 'http://127.0.0.1:1' }, 'mirror listening');
    });
    const { time, ...line } = JSON.parse(text) as Record<string, unknown>;
    assert.deepEqual(line, { level: 'info', address: 'http://127.0.0.1:1', msg: 'mirror listening' });
    assert.match(String(time), /^\d{4}-\d\d-\d\dT.*Z$/);
  });

  it('writes for people in a terminal, with colours only if they are wanted', async () => {
    const text = await logged({ isTerminal: true, color: false }, (logger) => logger.info({ a: 1 }, 'hello'));
    assert.match(text, /^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: hello \{"a":1\}\n$/);
  });

  it('never writes a credential', async () => {
    for (const format of ['json', 'pretty'] as const) {
      const text = await logged({ format }, (logger) =>
        logger.info(
          {
            password: 'hunter2',
            headers: { authorization: 'hunter2', Cookie: 'hunter2' },
            request: {
              headers: { 'proxy-authorization': 'hunter2', 'set-cookie': ['hunter2'] },
              token: 'hunter2',
            },
          },
          'request',
        ),
      );
      assert.ok(text.includes('request') && !text.includes('hunter2'), text);
    }
  });

  it('writes code, fault, detail and causes of an expected error, without a stack', () => {
    const cause = Object.assign(new Error('connect failed'), { code: 'ECONNREFUSED' });
    const error = new WeirError('upstream_unreachable', 'no way', { cause, detail: { host: 'x' } });
    assert.deepEqual(serializeError(error), {
      message: 'no way',
      code: 'upstream_unreachable',
      fault: 'upstream',
      detail: { host: 'x' },
      causes: ['ECONNREFUSED: connect failed'],
    });
  });

  it('writes the stack of an unexpected error', () => {
    const thrown = serializeError(new TypeError('x is not a function')) as Record<string, unknown>;
    assert.equal(thrown['type'], 'TypeError');
    assert.match(String(thrown['stack']), /logger\.test/);
    const wrapped = serializeError(new WeirError('internal', 'x', { cause: new TypeError('y') }));
    assert.match(String((wrapped as Record<string, unknown>)['stack']), /^TypeError: y/);
  });

  it('writes an error that is its own cause', () => {
    const error = new Error('loop');
    error.cause = error;
    assert.ok(serializeError(error));
  });

  it('writes a thrown value that is no error, such as an event', async () => {
    const event = new Event('abort');
    assert.match(
      await logged({ level: 'debug' }, (logger) => logger.debug({ err: event }, 'x')),
      /"msg":"x"/,
    );
  });
});
