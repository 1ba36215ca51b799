// The page: what is looked at above, a view below.

import { lock, session, unlock } from "./ask.js";
import { choose, current, refresh, store } from "./store.js";
import { Compare } from "./compare.js";
import icons from "./icons.js";
import { ItemDialog } from "./item.js";
import { ItemMap } from "./map.js";
import { Metrics } from "./metrics.js";
import { Recommend } from "./recommend.js";
import { listen } from "./shortcuts.js";

const THEME = "tf_recall.theme";
const THEMES = ["auto", "light", "dark"];
const REFRESH = 15000; // milliseconds between looks for new versions
const VIEWS = [
  { name: "recommend", label: "Recommend", icon: icons.like },
  { name: "map", label: "Map", icon: icons.map },
  { name: "metrics", label: "Metrics", icon: icons.chart },
  { name: "compare", label: "Compare", icon: icons.compare },
];
const COMPONENTS = { recommend: Recommend, map: ItemMap, metrics: Metrics, compare: Compare };

const Login = {
  setup() {
    const state = Vue.reactive({ key: "", busy: false, problem: "" });
    async function enter() {
      if (!state.key) return;
      state.busy = true;
      unlock(state.key);
      await refresh();
      state.busy = false;
      state.problem = store.problem;
      session.locked = !!store.problem;
    }
    return { state, enter, icons };
  },
  template: `
    <form class="card login" @submit.prevent="enter">
      <h2>This server asks for a key</h2>
      <p class="note">It is the one that the server was started with. It is kept until this tab is closed.</p>
      <q-input v-model="state.key" outlined label="Key" type="password" autofocus autocomplete="current-password" class="q-my-md" :error="!!state.problem" :error-message="state.problem" />
      <q-btn type="submit" unelevated color="primary" label="Enter" :loading="state.busy" class="full-width" />
    </form>`,
};

const App = {
  components: { Login, ItemDialog },
  setup() {
    if (!(store.view in COMPONENTS)) store.view = "recommend";
    const theme = Vue.ref(
      THEMES.includes(localStorage.getItem(THEME)) ? localStorage.getItem(THEME) : "auto",
    );
    const paint = () => Quasar.Dark.set(theme.value === "auto" ? "auto" : theme.value === "dark");
    paint();
    function nextTheme() {
      theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
      localStorage.setItem(THEME, theme.value);
      paint();
    }
    const models = Vue.computed(() => [...new Set(store.models.map((each) => each.model))]);
    const versions = Vue.computed(() =>
      store.models.filter((each) => each.model === store.model).map((each) => each.version),
    );
    const view = Vue.computed(() => COMPONENTS[store.view]);
    refresh();
    setInterval(() => document.hidden || session.locked || refresh(), REFRESH);
    listen();
    return {
      store,
      session,
      current,
      models,
      versions,
      view,
      choose,
      theme,
      nextTheme,
      refresh,
      lock,
      icons,
      VIEWS,
    };
  },
  template: `
    <q-layout view="hHh lpr fff">
      <q-header class="top"><div class="in">
        <div class="row items-center q-gutter-sm">
          <h1 class="brand q-mr-md"><img src="ui/static/icon.svg" alt=""> tf_recall</h1>
          <template v-if="current">
            <q-select outlined dense label="Model" :model-value="store.model" :options="models" @update:model-value="choose($event)" class="pick" behavior="menu" />
            <q-select outlined dense label="Version" :model-value="store.version" :options="versions" @update:model-value="choose(store.model, $event)" class="pick-version" behavior="menu" />
            <span class="note gt-sm">{{ current.items.toLocaleString("en") }} items<template v-if="current.users != null">, {{ current.users.toLocaleString("en") }} users</template></span>
          </template>
          <q-space />
          <q-btn v-if="session.key && !session.locked" flat round dense :icon="icons.key" aria-label="Forget the key" title="Forget the key" @click="lock" />
          <q-btn flat round dense :icon="icons[theme]" :aria-label="'Theme: ' + theme" :title="'Theme: ' + theme" @click="nextTheme" />
        </div>
        <q-tabs v-if="current && !session.locked" v-model="store.view" class="tabs q-mt-xs" inline-label align="left" indicator-color="primary" no-caps :breakpoint="0">
          <q-tab v-for="each in VIEWS" :key="each.name" :name="each.name" :label="each.label" :icon="$q.screen.gt.xs ? each.icon : undefined" />
        </q-tabs>
        <div v-else style="height: 10px"></div>
      </div></q-header>
      <q-page-container><main class="page-in">
        <Login v-if="session.locked" />
        <template v-else>
          <div v-if="store.problem" class="problem" role="alert"><span>{{ store.problem }}</span><q-btn flat dense color="primary" label="Ask again" class="q-ml-auto" @click="refresh" /></div>
          <component v-if="current" :is="view" />
          <section v-else-if="store.loaded && !store.problem" class="card"><div class="empty" style="padding: 90px 24px">No model is served yet. One that is exported into the server's folder shows up here.</div></section>
          <div v-else-if="!store.loaded" class="empty">Asking…</div>
        </template>
      </main></q-page-container>
      <ItemDialog />
    </q-layout>`,
};

const app = Vue.createApp(App);
app.use(Quasar, {
  plugins: { Notify: Quasar.Notify, Dark: Quasar.Dark },
  config: { dark: "auto", brand: { primary: "#5b54ea" } },
});
Quasar.IconSet.set(Quasar.IconSet.svgMaterialIcons);
app.mount("#app");
