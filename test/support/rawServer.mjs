/**
 * A minimal FUSE server on the addon alone, a process of its own: `node rawServer.mjs CONFIG`.
 * CONFIG (JSON): { addon, mounts: [{ mountpoint, data }], wakeEveryMs? }. Each mount has one
 * directory with the files below. It writes one JSON line to stdout when it serves, and one when
 * each mount has ended.
 */
import { openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';

const config = JSON.parse(process.argv[2]);
const native = createRequire(import.meta.url)(config.addon);
const L = native.layout();
const view = new DataView(native.memory);
const bytes = Buffer.from(native.memory);
const { 'memory.IN': IN, 'memory.OUT': OUT, 'memory.SCRATCH': SCRATCH } = L;
const BODY = OUT + L.out_header;

const ENOENT = 2;
const ENOSYS = 38;
const READ = 15;
const WRITE = 16;
const KILL_SUIDGID = 4;

/**
 * data: READ and WRITE by the fast path; engine: READ here, byte by byte of the offset; full: a
 * backing that has no space left; unreadable: one opened for writing only; broken: a reply the
 * kernel refuses; late: answered by send().
 */
const FILES = { data: 2, engine: 3, full: 4, broken: 5, late: 6, unreadable: 7 };
const ENGINE_SIZE = 300_000;

const tell = (what) => writeSync(1, `${JSON.stringify(what)}\n`);
const u32 = (at) => view.getUint32(at, true);
const put32 = (at, value) => view.setUint32(at, value, true);
const put64 = (at, value) => view.setBigUint64(at, BigInt(value), true);

const mounts = new Map();
let wakes = 0;

function attr(mount, at, node) {
  bytes.fill(0, at, at + L.attr);
  put64(at + L['attr.ino'], node);
  put32(at + L['attr.mode'], node === 1 ? 0o040777 : 0o106777);
  put32(at + L['attr.nlink'], 1);
  put64(at + L['attr.size'], node === FILES.data ? mount.size : ENGINE_SIZE);
  put32(at + L['attr.blksize'], 4096);
}

/** Completes the header; returns the reply's length. */
function done(length, error = 0) {
  put32(OUT, L.out_header + length);
  view.setInt32(OUT + L['out_header.error'], -error, true);
  bytes.copyWithin(OUT + L['out_header.unique'], IN + L['in_header.unique'], IN + 16);
  return L.out_header + length;
}

function init() {
  const at = IN + L.in_header;
  bytes.fill(0, BODY, BODY + L.init_out);
  put32(BODY, 7);
  put32(BODY + 4, Math.min(u32(at + 4), 45));
  put32(BODY + L['init_out.max_readahead'], u32(at + L['init_in.max_readahead']));
  // BIG_WRITES, NO_OPEN_SUPPORT, ABORT_ERROR, MAX_PAGES, NO_OPENDIR_SUPPORT, HANDLE_KILLPRIV_V2
  const flags = (1 << 5) | (1 << 17) | (1 << 21) | (1 << 22) | (1 << 24) | (1 << 28);
  put32(BODY + L['init_out.flags'], flags);
  view.setUint16(BODY + L['init_out.max_background'], 16, true);
  put32(BODY + L['init_out.max_write'], 1 << 20);
  put32(BODY + L['init_out.time_gran'], 1);
  view.setUint16(BODY + L['init_out.max_pages'], 256, true);
  return done(L.init_out);
}

function lookup(mount, slot) {
  const at = IN + L.in_header;
  const name = bytes.toString('latin1', at, bytes.indexOf(0, at));
  const node = FILES[name];
  if (node === undefined) return done(0, ENOENT);
  bytes.fill(0, BODY, BODY + L.entry_out);
  put64(BODY + L['entry_out.nodeid'], node);
  attr(mount, BODY + L['entry_out.attr'], node);
  const length = done(L.entry_out);
  if (name === 'broken') return length - 4;
  if (name === 'late') {
    bytes.copyWithin(SCRATCH, OUT, OUT + length);
    native.send(slot, SCRATCH, length);
    return 0;
  }
  return length;
}

function getattr(mount) {
  bytes.fill(0, BODY, BODY + L.attr_out);
  attr(mount, BODY + L['attr_out.attr'], u32(IN + L['in_header.nodeid']));
  return done(L.attr_out);
}

function read() {
  const at = IN + L.in_header;
  const offset = u32(at + L['read_in.offset']);
  const size = Math.min(u32(at + L['read_in.size']), ENGINE_SIZE - offset);
  for (let i = 0; i < size; i++) bytes[BODY + i] = (offset + i) % 251;
  return done(Math.max(size, 0));
}

function write(mount) {
  const at = IN + L.in_header;
  mount.engineWrites++;
  if (u32(at + L['write_in.write_flags']) & KILL_SUIDGID) mount.kills++;
  put64(BODY, u32(at + L['write_in.size']));
  return done(L.write_out);
}

function answer(mount, slot) {
  const op = u32(IN + L['in_header.opcode']);
  switch (op) {
    case 26:
      return init();
    case 1:
      return lookup(mount, slot);
    case 3:
    case 4:
      return getattr(mount);
    case READ:
      return read();
    case WRITE:
      return write(mount);
    case 2:
    case 36:
    case 42:
      return 0;
    case 38:
      return done(0);
    default:
      return done(0, ENOSYS);
  }
}

function start({ mountpoint, data, size }) {
  const device = native.openat2(-100, '/dev/fuse', 2, 0, 0);
  const options = `fd=${device},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other`;
  const mounted = native.mount('raw', mountpoint, 'fuse.stratafs-test', 0, options);
  if (mounted < 0) throw new Error(`mount: errno ${-mounted}`);
  const slot = native.attach(device);
  if (slot < 0) throw new Error(`attach: errno ${-slot}`);
  native.setBacking(slot, FILES.data, openSync(data, 'r+'), true);
  native.setBacking(slot, FILES.full, openSync('/dev/full', 'r+'), true);
  native.setBacking(slot, FILES.unreadable, openSync('/dev/null', 'a'), false);
  mounts.set(slot, { size, mountpoint, engineWrites: 0, kills: 0 });
}

function ended(slot) {
  const mount = mounts.get(slot);
  tell({
    ended: mount.mountpoint,
    readError: native.lastReadError(),
    sendError: native.lastSendError(),
    counters: [...native.counters(slot)],
    engineWrites: mount.engineWrites,
    kills: mount.kills,
    wakes,
  });
  native.detach(slot);
  mounts.delete(slot);
}

function startWaker() {
  const code = `
    const { workerData } = require('node:worker_threads');
    const native = require(workerData.addon);
    setInterval(() => native.wake(workerData.fd), workerData.everyMs);`;
  const workerData = { addon: config.addon, fd: native.wakeFd(), everyMs: config.wakeEveryMs };
  new Worker(code, { eval: true, workerData });
}

for (const mount of config.mounts) start(mount);
if (config.wakeEveryMs) {
  startWaker();
  // The worker starts only while this thread's event loop turns.
  await new Promise((resolve) => setTimeout(resolve, 300));
}
tell({ serving: true });
let [slot, length] = [0, 0];
while (mounts.size > 0) {
  const got = native.next(slot, length);
  length = 0;
  if (got === -1) wakes++;
  else if (got <= -1000) ended(-1000 - got);
  else {
    slot = got;
    length = answer(mounts.get(slot), slot);
  }
}
process.exit(0);
