/**
 * Parses a tar archive as its bytes arrive, in pieces of any size; it keeps only what one header needs. It
 * calls its visitor while it reads, which keeps 12,000 small files cheap. reader.ts is the same as an
 * iterator.
 */
import { BLOCK, isZero, padding, type RawHeader, readHeader } from './header.js';
import { beyond, damaged, DEFAULT_LIMITS, shown } from './limits.js';
import { entryOf, hasData, typeOf } from './member.js';
import { integer, readRecords, type Records } from './pax.js';
import { extentsOf, LineMap, oldRealSize, paxSparse, readCommaMap, readOldMap } from './sparse.js';
import type { Entry, Extent, Limits } from './types.js';

/** Is called in this order: entry, data any number of times, end. What it throws ends the reading. */
export interface TarVisitor {
  entry(entry: Entry): void;
  /** `length` bytes from `at` of `bytes` belong at `offset` of the file. They are not kept. */
  data(bytes: Buffer, at: number, length: number, offset: number): void;
  end(): void;
}

type Take = (block: Buffer, at: number) => void;

export class TarParser {
  readonly #visitor: TarVisitor;
  readonly #limits: Limits;
  /** Bytes read so far. */
  size = 0;
  /** Members seen so far. */
  entries = 0;
  /** The end-of-archive mark has been read; what follows it says nothing. */
  ended = false;

  /** A piece that must be whole before it is read: its size, who takes it, and what there is of it. */
  #want = BLOCK;
  #take: Take;
  #held: Buffer | undefined;
  #have = 0;
  /** Data and padding of the member being read. */
  #data = 0;
  #skip = 0;
  /** The member being read has a visitor that waits for its data. */
  #open = false;
  #name = '';
  #extents: readonly Extent[] | undefined;
  #extent = 0;
  /** Offset in the file of the next byte of data. */
  #offset = 0;
  #zero = false;

  readonly #global: Records = new Map();
  #local: Records = new Map();
  #pairs: number[] = [];
  #longName = '';
  #longTarget = '';

  constructor(visitor: TarVisitor, limits: Partial<Limits> = {}) {
    this.#visitor = visitor;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#take = this.#header;
  }

  write(chunk: Buffer): void {
    this.size += chunk.length;
    if (this.size > this.#limits.bytes) {
      throw beyond('it is too large when it is unpacked', this.#limits.bytes);
    }
    for (let at = 0; at < chunk.length && !this.ended; ) {
      if (this.#data > 0) at = this.#copy(chunk, at);
      else if (this.#skip > 0) at = this.#pass(chunk, at);
      else at = this.#collect(chunk, at);
    }
  }

  /** There are no more bytes. */
  finish(): void {
    if (this.ended || (this.#zero && this.#have === 0)) {
      this.ended = true;
      return;
    }
    const inside =
      this.#data > 0 || this.#skip > 0 || this.#have > 0 || this.#take !== this.#header;
    const pending = this.#local.size > 0 || this.#longName !== '' || this.#longTarget !== '';
    if (inside || pending) {
      const where = this.#name === '' ? 'its beginning' : shown(this.#name);
      throw damaged(`it ends too early, in or after ${where}`);
    }
  }

  #copy(chunk: Buffer, at: number): number {
    const size = Math.min(this.#data, chunk.length - at);
    if (this.#open) this.#deliver(chunk, at, size);
    this.#data -= size;
    if (this.#data === 0) this.#close();
    return at + size;
  }

  #deliver(chunk: Buffer, from: number, size: number): void {
    if (this.#extents === undefined) {
      this.#visitor.data(chunk, from, size, this.#offset);
      this.#offset += size;
      return;
    }
    for (let at = from; at < from + size; ) {
      const { offset, length } = this.#extents[this.#extent];
      const part = Math.min(length - this.#offset, from + size - at);
      this.#visitor.data(chunk, at, part, offset + this.#offset);
      at += part;
      this.#offset += part;
      if (this.#offset === length) {
        this.#extent++;
        this.#offset = 0;
      }
    }
  }

  #close(): void {
    if (this.#open) this.#visitor.end();
    this.#open = false;
  }

  #pass(chunk: Buffer, at: number): number {
    const size = Math.min(this.#skip, chunk.length - at);
    this.#skip -= size;
    return at + size;
  }

  #collect(chunk: Buffer, at: number): number {
    const want = this.#want;
    if (this.#have === 0 && chunk.length - at >= want) {
      this.#take(chunk, at);
      return at + want;
    }
    // Not more than there is of it: a size in a header is not believed before its bytes are there.
    const size = Math.min(want - this.#have, chunk.length - at);
    this.#hold(chunk, at, size);
    if (this.#have === want && this.#held) {
      const whole = this.#held;
      this.#held = undefined;
      this.#have = 0;
      this.#take(whole, 0);
    }
    return at + size;
  }

  #hold(chunk: Buffer, at: number, size: number): void {
    const needed = this.#have + size;
    if (!this.#held || this.#held.length < needed) {
      const room = Math.min(this.#want, Math.max(needed, 2 * (this.#held?.length ?? 0)));
      const larger = Buffer.allocUnsafe(room);
      this.#held?.copy(larger, 0, 0, this.#have);
      this.#held = larger;
    }
    chunk.copy(this.#held, this.#have, at, at + size);
    this.#have = needed;
  }

  #expect(size: number, take: Take): void {
    this.#want = size;
    this.#take = take;
  }

  readonly #header: Take = (block, at) => {
    if (block[at] === 0 && isZero(block, at)) {
      this.ended = this.#zero;
      this.#zero = true;
      return;
    }
    if (this.#zero) throw damaged('a block of zeros is followed by more');
    const raw = readHeader(block, at);
    if (raw.size < 0) throw damaged('a size in a header is negative');
    switch (raw.type) {
      case 'x':
      case 'X':
      case 'g':
      case 'L':
      case 'K':
        this.#meta(raw);
        return;
      default:
        this.#member(raw, block, at);
    }
  };

  /** The member after a header that says more about another one is what is read next. */
  #meta(raw: RawHeader): void {
    if (raw.size > this.#limits.header)
      throw beyond('an extended header is too large', this.#limits.header);
    const whole = raw.size + padding(raw.size);
    const take: Take = (block, at) => {
      this.#expect(BLOCK, this.#header);
      this.#extended(raw.type, block.subarray(at, at + raw.size));
    };
    if (whole === 0) take(Buffer.alloc(0), 0);
    else this.#expect(whole, take);
  }

  #extended(type: string, bytes: Buffer): void {
    const nul = bytes.indexOf(0);
    if (type === 'L') this.#longName = bytes.latin1Slice(0, nul < 0 ? bytes.length : nul);
    else if (type === 'K') this.#longTarget = bytes.latin1Slice(0, nul < 0 ? bytes.length : nul);
    else if (type === 'g') {
      readRecords(bytes, this.#global, () => {
        throw damaged('the map of a sparse file stands for the whole archive');
      });
    } else {
      this.#local = new Map();
      this.#pairs = [];
      readRecords(bytes, this.#local, (key, value) => this.#pair(key, value));
    }
  }

  /** Offset and length of sparse 0.0 come in turns. */
  #pair(key: string, value: string): void {
    const expected = this.#pairs.length % 2 === 0 ? 'GNU.sparse.offset' : 'GNU.sparse.numbytes';
    if (key !== expected) throw damaged('the map of a sparse file cannot be read');
    this.#pairs.push(integer(value));
  }

  /** The records in force for the next member; an empty value takes one back. */
  #records(): Records {
    const records = this.#local;
    this.#local = new Map();
    if (this.#global.size > 0) {
      for (const [key, value] of this.#global) if (!records.has(key)) records.set(key, value);
    }
    for (const [key, value] of records) {
      if (value === '' && !key.includes('.xattr.')) records.delete(key);
    }
    return records;
  }

  #member(raw: RawHeader, block: Buffer, at: number): void {
    const records = this.#records();
    const name =
      records.get('GNU.sparse.name') ?? (this.#longName || (records.get('path') ?? raw.name));
    const target = this.#longTarget || (records.get('linkpath') ?? raw.target);
    this.#longName = '';
    this.#longTarget = '';
    this.#name = name;
    const told = records.get('size');
    const stored = told === undefined ? raw.size : integer(told);
    if (stored < 0) throw damaged('a size in an extended header is negative');
    const type = typeOf(raw, name);
    const data = type === undefined || hasData(type) || raw.type === 'D' ? stored : 0;
    if (type === undefined) {
      this.#skip = data + padding(data);
      return;
    }
    if (++this.entries > this.#limits.entries) {
      throw beyond('it has too many entries', this.#limits.entries);
    }
    const begin = (size: number, extents: readonly Extent[] | undefined, left: number): void => {
      const entry = entryOf({ raw, type, records, name, target, size, extents });
      this.#begin(entry, left, left + padding(data));
    };
    if (raw.type === 'S') this.#oldSparse(raw, block, at, data, begin);
    else if (type === 'file' && records.size > 0) this.#paxSparse(records, data, begin);
    else begin(data, undefined, data);
  }

  #oldSparse(raw: RawHeader, block: Buffer, at: number, stored: number, begin: Begin): void {
    if (raw.form !== 'gnu') throw damaged('a sparse file is of an unknown form');
    const size = oldRealSize(block, at);
    const numbers: number[] = [];
    const most = this.#limits.extents;
    const next: Take = (more, from) => {
      if (readOldMap(more, from, false, numbers, most)) return;
      this.#expect(BLOCK, this.#header);
      begin(size, extentsOf(numbers, size, stored), stored);
    };
    if (readOldMap(block, at, true, numbers, most)) this.#expect(BLOCK, next);
    else begin(size, extentsOf(numbers, size, stored), stored);
  }

  #paxSparse(records: Records, stored: number, begin: Begin): void {
    const pairs = this.#pairs;
    this.#pairs = [];
    const form = paxSparse(records);
    if (form === 'none') {
      begin(stored, undefined, stored);
      return;
    }
    const told = records.get('GNU.sparse.realsize') ?? records.get('GNU.sparse.size');
    if (told === undefined) throw damaged('a sparse file does not say how large it is');
    const size = integer(told);
    if (form === '0') {
      const map = records.get('GNU.sparse.map');
      const numbers = map === undefined ? pairs : readCommaMap(map, this.#limits.extents);
      begin(size, extentsOf(numbers, size, stored), stored);
      return;
    }
    const map = new LineMap(this.#limits.extents);
    this.#expect(BLOCK, (block, at) => {
      if (map.bytes + BLOCK > stored) throw damaged('the map of a sparse file does not end');
      if (!map.add(block, at)) return;
      this.#expect(BLOCK, this.#header);
      const left = stored - map.bytes;
      begin(size, extentsOf(map.numbers, size, left), left);
    });
  }

  #begin(entry: Entry, data: number, whole: number): void {
    this.#extents = entry.extents;
    this.#extent = 0;
    this.#offset = 0;
    this.#open = true;
    this.#visitor.entry(entry);
    // A directory's list of names is nobody's data.
    const wanted = hasData(entry.type) ? data : 0;
    if (wanted === 0) this.#close();
    this.#data = wanted;
    this.#skip = whole - wanted;
  }
}

type Begin = (size: number, extents: readonly Extent[] | undefined, left: number) => void;
