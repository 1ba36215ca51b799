// For whom: a user, or a basket of items; and how.

import { store, titleOf } from "./store.js";
import { Picker } from "./picker.js";
import icons from "./icons.js";

export const Who = {
  components: { Picker },
  props: { version: Object, plain: Boolean },
  setup(props) {
    const context = Vue.computed(() => Object.entries(props.version.context));
    function add(option) {
      if (option && !store.basket.some((each) => each.id === option.value))
        store.basket.push({ id: option.value, title: option.label });
    }
    const remove = (id) => (store.basket = store.basket.filter((each) => each.id !== id));
    const name = (each) => titleOf(props.version, each.id) ?? each.title ?? each.id;
    const most = Vue.computed(() => Math.min(props.version.k, 100));
    return { store, context, add, remove, name, icons, most };
  },
  template: `
    <section class="card" aria-label="For whom">
      <header><h2>For whom</h2><span class="note keys"><kbd>/</kbd> to search</span></header>
      <div class="body fields">
        <q-btn-toggle v-model="store.mode" spread no-caps unelevated toggle-color="primary" class="full-width" style="border: 1px solid var(--line)"
          :options="[{label: 'A user', value: 'user', icon: icons.person}, {label: 'A basket', value: 'basket', icon: icons.basket}]" />
        <Picker v-if="store.mode === 'user'" v-model="store.user" label="User" hint="Pick one, or type any id" path="ui/api/users" :version="version" free search />
        <template v-else>
          <Picker label="Add an item" hint="By id or title" path="ui/api/items" :version="version" clears search @pick="add" />
          <div v-if="!version.history" class="note">This model takes no history: a basket says nothing to it.</div>
          <div v-if="!store.basket.length" class="note">The basket is empty.</div>
          <q-list v-else dense aria-label="Basket">
            <q-item v-for="each in store.basket" :key="String(each.id)" style="border-radius: 8px">
              <q-item-section><q-item-label lines="2">{{ name(each) }}</q-item-label><q-item-label v-if="name(each) !== each.id" caption class="id">{{ each.id }}</q-item-label></q-item-section>
              <q-item-section side><q-btn flat round dense size="sm" :icon="icons.close" :aria-label="'Take out ' + name(each)" @click="remove(each.id)" /></q-item-section>
            </q-item>
          </q-list>
          <q-btn v-if="store.basket.length" flat dense color="primary" label="Empty it" @click="store.basket = []" />
        </template>
        <q-expansion-item v-if="context.length" dense label="Features of the request" header-class="q-px-none note" style="border-top: 1px solid var(--line)">
          <div class="fields q-pt-sm">
            <q-input v-for="[name, kind] in context" :key="name" v-model="store.context[name]" :label="name" :type="kind === 'number' ? 'number' : 'text'" outlined dense clearable debounce="300" />
          </div>
        </q-expansion-item>
        <div>
          <div class="row items-center no-wrap">
            <span class="note" id="how-many">Items in a list</span><b class="q-ml-auto">{{ Math.min(store.k, most) }}</b>
          </div>
          <q-slider :model-value="Math.min(store.k, most)" @change="store.k = $event" :min="1" :max="most" color="primary" aria-labelledby="how-many" />
        </div>
        <div class="column" style="gap: 8px">
          <q-toggle v-if="version.seen" dense v-model="store.seen" label="Leave out what was seen" color="primary" />
          <q-toggle v-if="!plain" dense v-model="store.explain" label="Say why" color="primary" />
        </div>
      </div>
    </section>`,
};

// The request of what is chosen; null where nobody is.
export function wanted(version) {
  const context = Object.fromEntries(
    Object.entries(version.context)
      .map(([name, kind]) => [
        name,
        kind === "number" ? Number(store.context[name]) : store.context[name],
      ])
      .filter(
        ([name, value]) =>
          store.context[name] != null && store.context[name] !== "" && !Number.isNaN(value),
      ),
  );
  const shared = {
    k: Math.min(store.k, version.k),
    context,
    ...(version.seen ? { exclude_seen: store.seen } : {}),
  };
  if (store.mode === "basket") {
    return store.basket.length && version.history
      ? { history: store.basket.map((each) => each.id), ...shared }
      : null;
  }
  if (store.user == null || store.user === "") return Object.keys(context).length ? shared : null;
  return {
    user_id: version.user_ids === "int64" ? number(store.user) : String(store.user),
    ...shared,
  };
}

const number = (id) =>
  /^-?\d+$/.test(String(id)) ? (Number.isSafeInteger(Number(id)) ? Number(id) : BigInt(id)) : id;
