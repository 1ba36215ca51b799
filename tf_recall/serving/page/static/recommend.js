// A user's history beside what the model, and each of its channels, recommends.

import { ask, latest } from "./ask.js";
import { current, keepTitle, of, store } from "./store.js";
import { ResultList } from "./list.js";
import { throughRows } from "./shortcuts.js";
import { wanted, Who } from "./who.js";

export const History = {
  props: { version: Object },
  setup(props) {
    const state = Vue.reactive({ found: null, problem: "" });
    const last = latest();
    async function load() {
      state.problem = "";
      if (store.user == null || store.user === "") return (state.found = null);
      try {
        state.found = await last((signal) =>
          ask("ui/api/user", { query: { ...of(props.version), id: store.user }, signal }),
        );
        state.found.events.forEach((each) => keepTitle(props.version, each.item_id, each.title));
      } catch (error) {
        state.found = null;
        state.problem = error.message;
      }
    }
    Vue.watch(() => [store.user, props.version.model, props.version.version], load, {
      immediate: true,
    });
    const open = (each) => (store.item = { id: each.item_id, version: props.version });
    return { state, store, open, throughRows };
  },
  template: `
    <section class="card" aria-label="History">
      <header><h2>History</h2><span v-if="state.found && state.found.total" class="note">{{ state.found.total.toLocaleString("en") }} events, the latest first</span></header>
      <div v-if="state.problem" class="body"><div class="problem" role="alert">{{ state.problem }}</div></div>
      <div v-else-if="!state.found" class="empty">Nobody is picked.</div>
      <div v-else-if="state.found.known === null" class="empty">This export was written without its users, so their histories are not known here.</div>
      <div v-else-if="!state.found.known" class="empty">User {{ state.found.id }} is unknown to this model: what it recommends is for somebody new.</div>
      <div v-else-if="!state.found.total" class="empty">This user did nothing yet.</div>
      <ol v-else class="rows" style="max-height: 60vh; overflow-y: auto" @keydown="throughRows">
        <li v-for="(each, at) in state.found.events" :key="at">
          <button type="button" class="row-item" @click="open(each)">
            <span class="rank">{{ state.found.total - at }}</span><span class="name">{{ each.title ?? each.item_id }}</span><span class="score">{{ each.day }}</span>
          </button>
        </li>
      </ol>
    </section>`,
};

export const Recommend = {
  components: { Who, History, ResultList },
  setup() {
    const request = Vue.computed(() => wanted(current.value));
    const lists = Vue.computed(() => {
      const version = current.value;
      const channels = version.channels.filter((each) => each.recommends);
      const whole = {
        key: "",
        title: version.channels.length ? "The merge" : "Recommendations",
        note: version.model,
        request: { ...request.value, explain: store.explain },
      };
      return [
        ...(version.recommends ? [whole] : []),
        ...channels.map((each) => ({
          key: each.name,
          title: each.name,
          note: "channel",
          request: ofChannel(each),
        })),
      ];
    });
    function ofChannel(channel) {
      const context = Object.fromEntries(
        Object.entries(request.value.context).filter(([name]) => name in channel.context),
      );
      const given = {
        ...request.value,
        k: Math.min(request.value.k, channel.k),
        context,
        channel: channel.name,
        explain: store.explain,
      };
      if (!channel.history) delete given.history;
      return given;
    }
    const takes = (given) =>
      given.user_id != null || given.history?.length || Object.keys(given.context).length;
    return { store, current, request, lists, takes };
  },
  template: `
    <div class="cols">
      <Who :version="current" />
      <History v-if="store.mode === 'user'" :version="current" />
      <div class="lists main" v-if="request">
        <template v-for="each in lists" :key="each.key">
          <ResultList v-if="takes(each.request)" :title="each.title" :note="each.note" :version="current" path="recommend" :request="each.request" :two="!each.key" />
          <section v-else class="card" :aria-label="each.title"><header><h2>{{ each.title }}</h2><span class="note">{{ each.note }}</span></header><div class="empty">This channel takes no history, so a basket says nothing to it.</div></section>
        </template>
      </div>
      <section v-else class="card main"><div class="empty" style="padding: 72px 24px">
        <template v-if="store.mode === 'user'">Pick a user on the side, or type an id, to see what {{ current.model }} recommends and why.</template>
        <template v-else>Put items into the basket to see what goes with them.</template>
      </div></section>
    </div>`,
};
