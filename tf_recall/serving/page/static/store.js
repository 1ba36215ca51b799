// What the views share: the versions that are served, which one is looked at, and for whom.

import { ask } from "./ask.js";

const hash = new URLSearchParams(location.hash.slice(1));

export const store = Vue.reactive({
  models: [], // every version that is served
  problem: "",
  loaded: false,
  model: hash.get("model") ?? "",
  version: Number(hash.get("version")) || null,
  view: hash.get("view") ?? "recommend",
  mode: hash.get("mode") ?? "user", // or "basket"
  user: hash.get("user"), // an id
  basket: [], // {id, title}
  k: 10,
  seen: true, // whether what was seen is left out
  explain: true,
  context: {},
  item: null, // {id, version}, which the dialog shows
  marked: null, // the item that the map marks
});

export const current = Vue.computed(() => find(store.model, store.version));

export function find(model, version) {
  return store.models.find((each) => each.model === model && each.version === version);
}

export const label = (each) => `${each.model} · version ${each.version}`;
export const of = (each) => ({ model: each.model, version: each.version });

export async function refresh() {
  try {
    store.models = await ask("ui/api/models");
    store.problem = "";
  } catch (error) {
    store.problem = error.message;
  }
  store.loaded = true;
  if (!current.value && store.models.length) choose(store.model);
}

export function choose(model, version) {
  const of = store.models.filter((each) => each.model === model);
  const next = of.find((each) => each.version === version) ?? of[0] ?? store.models[0];
  store.model = next.model;
  store.version = next.version;
}

// The address says what is looked at, so that it can be sent to somebody.
Vue.watchEffect(() => {
  const { view, model, version, mode, user } = store;
  const known = { view, model, version, mode, user: mode === "user" ? user : "" };
  const given = Object.entries(known).filter(([, value]) => value != null && value !== "");
  history.replaceState(null, "", `#${new URLSearchParams(given)}`);
});

const titles = new Map(); // by version and id, as far as they came by

const place = (version, id) => `${version.model}\n${version.version}\n${id}`;
export const titleOf = (version, id) => titles.get(place(version, id)) ?? null;
export function keepTitle(version, id, title) {
  if (title == null) return;
  if (titles.size > 20000) titles.clear();
  titles.set(place(version, id), title);
}

export async function fetchTitles(version, ids) {
  const missing = [...new Set(ids)].filter((id) => !titles.has(place(version, id)));
  if (!missing.length || !version.title) return;
  const body = { ...of(version), ids: missing.slice(0, 1000) };
  const found = await ask("ui/api/titles", { body });
  found.titles.forEach((title, at) => keepTitle(version, missing[at], title));
}
