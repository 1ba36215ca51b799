// Requests to the server that sent the page: with the key, and with errors in sentences.

export class Problem extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

const KEY = "tf_recall.key"; // kept until the tab is closed
export const session = Vue.reactive({ key: sessionStorage.getItem(KEY) ?? "", locked: false });

export function unlock(key) {
  session.key = key;
  sessionStorage.setItem(KEY, key);
}

export function lock() {
  session.key = "";
  sessionStorage.removeItem(KEY);
  session.locked = true;
}

// Whole numbers beyond what a number of JavaScript holds stay what they are.
const read = (_, value, context) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
    ? BigInt(context.source)
    : value;
const write = (_, value) => (typeof value === "bigint" ? JSON.rawJSON(String(value)) : value);

async function answer(path, query, body, signal) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value != null && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  const headers = session.key ? { Authorization: `Bearer ${session.key}` } : {};
  const options = { headers, signal };
  if (body) {
    options.method = "POST";
    options.body = JSON.stringify(body, write);
    headers["Content-Type"] = "application/json";
  }
  let reply;
  try {
    reply = await fetch(given.length ? `${path}?${search}` : path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server does not answer. Is it still running?");
  }
  if (reply.ok) return reply;
  if (reply.status === 401) {
    session.locked = true;
    throw new Problem(session.key ? "The server does not take this key." : "A key is needed.", 401);
  }
  const text = await reply.text();
  let message = `The server answered with status ${reply.status}.`;
  try {
    message = JSON.parse(text).error ?? message;
  } catch {
    /* the status says it */
  }
  throw new Problem(message, reply.status);
}

export async function ask(path, { query, body, signal } = {}) {
  const text = await (await answer(path, query, body, signal)).text();
  return JSON.parse(text, read);
}

export async function askBytes(path, { query, signal } = {}) {
  return (await answer(path, query, null, signal)).arrayBuffer();
}

// Of calls that overtake each other only the last one counts: the others never resolve.
export function latest() {
  let controller;
  return async (call) => {
    controller?.abort();
    const own = (controller = new AbortController());
    try {
      const found = await call(own.signal);
      if (own === controller) return found;
    } catch (error) {
      if (own === controller && error.name !== "AbortError") throw error;
    }
    return new Promise(() => {});
  };
}
