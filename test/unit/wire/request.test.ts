import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { NoAnswer, request } from '../../../src/wire/request.js';

/** Asks a server that writes `text` and hangs up, or, without one, says nothing. */
async function ask(text: string | undefined): Promise<unknown> {
  const path = join(mkdtempSync(join(tmpdir(), 'stratafs-wire-')), 's');
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (text !== undefined) socket.end(text);
  });
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  try {
    return await request(path, { query: 'mounts' }, 200);
  } finally {
    server.close();
  }
}

test('an answer that is cut off rejects, wherever that is', async () => {
  const answer = JSON.stringify([{ mountpoint: '/m', lowers: ['/l'] }]);
  for (let length = 1; length < answer.length; length++) {
    await expect(ask(answer.slice(0, length))).rejects.toThrow(
      'the host ended within its answer: try again',
    );
  }
  expect(await ask(`${answer}\n`)).toEqual([{ mountpoint: '/m', lowers: ['/l'] }]);
});

test('no answer is nobody, silence is somebody who is stopped', async () => {
  expect(await ask('')).toBeUndefined();
  await expect(ask(undefined)).rejects.toBeInstanceOf(NoAnswer);
});
