// A system that pulls: keeps its state in a JSON file in step with Lockstep, by asking and never being asked.
//
//     node pull-client.ts http://lockstep.example.org:8800/pull/v1/voicedrive TOKEN_FILE STATE_FILE
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';

type Change = { op: string; kind: string; name: string; spec?: unknown };
type Waits = { id: string; phase: 'prepare' | 'commit' | 'abort'; revision: string; base_digest: string; changes: Change[] };
type State = { revision: string | null; resources: Record<string, Record<string, unknown>>; staged: Record<string, Waits> };

const [base, tokenFile, path] = process.argv.slice(2);
const token = readFileSync(tokenFile, 'utf8').trim();
const state: State = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { revision: null, resources: {}, staged: {} };

async function ask(method: string, where: string, body?: unknown, headers = {}, signal = AbortSignal.timeout(30_000)) {
  const all = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', ...headers };
  const answer = await fetch(base + where, { method, headers: all, signal, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer;
}

function save() { // durable before anything is said of it
  const file = openSync(`${path}.new`, 'w');
  writeSync(file, JSON.stringify(state, null, 1));
  fsyncSync(file);
  closeSync(file);
  renameSync(`${path}.new`, path);
}

async function report(): Promise<string> { // all that is held; the answer is its digest
  const resources = Object.entries(state.resources).flatMap(([kind, of]) => Object.entries(of).map(([name, spec]) => ({ kind, name, spec })));
  return (await (await ask('PUT', '/state', { revision: state.revision, resources })).json()).digest;
}

const does = {
  async prepare(one: Waits) {
    if ((await report()) !== one.base_digest) return { status: 'other_base' };
    const unheard = one.changes.filter((change) => change.kind === 'Unheard');
    const reasons = unheard.map(({ kind, name }) => ({ kind, name, message: 'no Unheard is kept here' }));
    if (reasons.length) return { status: 'refused', reasons };
    state.staged[one.id] = one;
    save();
    return { status: 'prepared' };
  },
  async commit(one: Waits) {
    for (const { op, kind, name, spec } of one.changes) { // as staged; once more where that was done before
      if (op === 'delete') delete state.resources[kind]?.[name];
      else (state.resources[kind] ??= {})[name] = spec;
    }
    state.revision = one.revision;
    delete state.staged[one.id];
    save();
    return { status: 'committed', digest: await report() };
  },
  async abort(one: Waits) {
    delete state.staged[one.id];
    save();
    return { status: 'aborted' };
  },
};

async function look() { // does what waits; repeating it has no further effect
  const { changesets } = (await (await ask('GET', '/changesets')).json()) as { changesets: Waits[] };
  for (const one of changesets) await ask('POST', `/changesets/${one.id}`, await does[one.phase](one));
  if (!changesets.length) await report();
}
for (let last = ''; ; await new Promise((again) => setTimeout(again, 1000))) {
  try {
    await look();
    const cut = new AbortController(); // a silence longer than three heartbeats is a dead connection
    let silence = setTimeout(() => cut.abort(), 45_000);
    const events = await ask('GET', '/events', undefined, last ? { 'Last-Event-ID': last } : {}, cut.signal);
    console.log('connected');
    let text = '';
    for await (const bytes of events.body!.pipeThrough(new TextDecoderStream())) {
      clearTimeout(silence);
      silence = setTimeout(() => cut.abort(), 45_000);
      const lines = (text + bytes).split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        if (line.startsWith('id:')) last = line.slice(3).trim();
        if (/^(event)?:/.test(line)) await look(); // at a heartbeat too, so that Lockstep knows that this runs
      }
    }
  } catch (error) {
    console.error(String(error));
  }
}
