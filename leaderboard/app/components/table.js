// A table to sort, search, filter and pick from. Every text of a database goes in as textContent: nothing of it acts.
// Used by the app as a Streamlit component and by the static site as it is.
export default function segbenchTable(component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".segbench-table");
  const kept = root.kept || (root.kept = {});
  if (kept.version === data.version && kept.reset === data.reset) return;
  if (kept.reset !== data.reset || kept.table !== data.id) {
    // The server decides the view when it was opened by a link; after that the reader does.
    kept.view = {
      sort: data.view.sort || "", find: data.view.find || "", picked: [...(data.view.picked || [])],
      filters: { ...(data.view.filters || {}) }, precise: !!data.view.precise,
    };
    kept.open = new Map();
    kept.limit = data.limit || 100;
    kept.scroll = true;
  }
  kept.version = data.version;
  kept.reset = data.reset;
  kept.table = data.id;
  const view = kept.view;

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined && text !== null) element.textContent = text;
    return element;
  };
  const say = () => setTriggerValue("changed", JSON.parse(JSON.stringify(view)));
  const column = (id) => data.columns.find((one) => one.id === id);

  // ---- what is shown -------------------------------------------------------------------------------------------
  const plain = (text) => String(text).toLowerCase().normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
  const words = () => plain(view.find).split(/\s+/).filter(Boolean);
  const wanted = (row) =>
    words().every((word) => plain(row.search || "").includes(word)) &&
    Object.entries(view.filters).every(([name, values]) => !values.length || values.includes((row.facts || {})[name]));

  function order(rows) {
    const [id, way] = view.sort.split(/:(?=[^:]*$)/);
    if (!id || !column(id)) return rows;
    const sign = way === "down" ? -1 : 1;
    const place = (row) => row.cells[id] || {};
    const compare = (p, q) => (typeof p === "number" && typeof q === "number" ? p - q : String(p).localeCompare(String(q)));
    return rows.map((row, at) => [row, at]).sort(([a, i], [b, j]) => {
      const p = place(a), q = place(b);
      const none = (p.v === undefined || p.v === null) - (q.v === undefined || q.v === null);
      if (none) return none; // what has no figure stands last, whichever way
      if (p.v === undefined || p.v === null) return i - j;
      // Figures of different machines are sorted machine by machine, never among one another.
      const block = String(p.k || "").localeCompare(String(q.k || ""));
      return block || sign * compare(p.v, q.v) || i - j;
    }).map(([row]) => row);
  }

  // ---- the bar above the table ---------------------------------------------------------------------------------
  function bar() {
    const line = make("div", "bar");
    if (data.searchable) {
      const label = make("label", "search");
      label.append(make("span", "unseen", data.searchLabel || "Search"));
      const input = make("input");
      input.type = "search";
      input.placeholder = data.searchLabel || "Search";
      input.value = view.find;
      let wait;
      input.addEventListener("input", () => {
        view.find = input.value;
        draw();
        clearTimeout(wait);
        wait = setTimeout(say, 500);
      });
      label.append(input);
      line.append(label);
    }
    for (const fact of data.facts || []) {
      const group = make("div", "chips");
      group.setAttribute("role", "group");
      group.setAttribute("aria-label", `Only ${fact.title}`);
      group.append(make("span", "chips-title", fact.title));
      for (const value of fact.values) {
        const on = (view.filters[fact.id] || []).includes(value);
        const chip = make("button", "chip", value);
        chip.type = "button";
        chip.setAttribute("aria-pressed", on);
        chip.addEventListener("click", () => {
          const now = view.filters[fact.id] || [];
          view.filters[fact.id] = now.includes(value) ? now.filter((one) => one !== value) : [...now, value];
          if (!view.filters[fact.id].length) delete view.filters[fact.id];
          chip.setAttribute("aria-pressed", !now.includes(value));
          draw();
          say();
        });
        group.append(chip);
      }
      line.append(group);
    }
    if (data.precise) {
      const button = make("button", "chip", "Full precision");
      button.type = "button";
      button.setAttribute("aria-pressed", view.precise);
      button.addEventListener("click", () => {
        view.precise = !view.precise;
        button.setAttribute("aria-pressed", view.precise);
        draw();
        say();
      });
      line.append(button);
    }
    kept.status = make("span", "status");
    kept.status.setAttribute("role", "status");
    line.append(kept.status);
    return line;
  }

  // ---- the table -----------------------------------------------------------------------------------------------
  function heads() {
    const line = make("tr");
    if (data.pick) {
      const head = make("th", "pick");
      head.scope = "col";
      head.append(make("span", "unseen", "Compare"));
      line.append(head);
    }
    const [sorted, way] = view.sort.split(/:(?=[^:]*$)/);
    for (const one of data.columns) {
      const head = make("th", classes(one));
      head.scope = "col";
      head.dataset.column = one.id;
      if (one.sortable === false) {
        head.textContent = one.title;
      } else {
        const button = make("button", "head", one.title);
        button.type = "button";
        button.dataset.sort = one.id;
        if (one.help) button.title = one.help;
        if (one.better) button.append(make("span", "better", one.better > 0 ? " ↑" : " ↓"));
        if (sorted === one.id) {
          head.setAttribute("aria-sort", way === "down" ? "descending" : "ascending");
          button.append(make("span", "sorted", way === "down" ? " ▾" : " ▴"));
        }
        button.addEventListener("click", () => {
          // The first click shows the best first, the second the worst.
          const first = one.better > 0 ? "down" : "up";
          const other = first === "down" ? "up" : "down";
          view.sort = `${one.id}:${sorted === one.id && way === first ? other : first}`;
          draw(one.id);
          say();
        });
        head.append(button);
      }
      line.append(head);
    }
    const part = make("thead");
    part.append(line);
    return part;
  }

  const classes = (one) => [one.num ? "num" : "", one.head ? "name" : "", `p${one.priority || 1}`].filter(Boolean).join(" ");

  function cell(row, one, axis) {
    const found = row.cells[one.id] || { t: "" };
    const element = make(one.head ? "th" : "td", classes(one) + (found.weak ? " weak" : ""));
    if (one.head) element.scope = "row";
    element.dataset.column = one.id;
    const text = view.precise && found.f !== undefined ? found.f : found.t;
    let holder = element;
    if (one.head && row.link) {
      holder = make("a", "", "");
      holder.href = row.link;
      holder.addEventListener("click", (event) => {
        if (data.plainLinks || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        setTriggerValue("opened", row.open ?? row.id);
      });
      element.append(holder);
    }
    if (found.iv && axis) {
      const share = (value) => `${(100 * Math.min(1, Math.max(0, (value - axis[0]) / (axis[1] - axis[0] || 1)))).toFixed(2)}%`;
      const drawn = make("span", "interval" + (found.maybe ? " maybe" : ""));
      const [low, middle, high] = found.iv;
      drawn.style.setProperty("--low", share(low ?? middle));
      drawn.style.setProperty("--high", share(high ?? middle));
      drawn.style.setProperty("--middle", share(middle));
      element.append(drawn);
    }
    if (found.swatch) {
      const swatch = make("span", "swatch");
      swatch.style.backgroundColor = `rgb(${found.swatch.map(Number).join(",")})`;
      holder.append(swatch);
    }
    if (found.s || found.b || found.iv || found.mark) {
      holder.append(make(found.b ? "b" : "span", "value", text));
      if (found.mark) holder.append(make("span", "mark", found.mark));
      if (found.s) holder.append(make("span", "sub", found.s));
    } else {
      holder.append(text ?? "");
    }
    if (found.title || (one.head && String(text).length > 30)) element.title = found.title || text;
    return element;
  }

  function line(row, axes) {
    const element = make("tr", row.state ? `state-${row.state}` : "");
    element.dataset.row = row.id;
    if (row.current) element.setAttribute("aria-current", "true");
    if (data.pick) {
      const holder = make("td", "pick");
      if (row.pick !== false) {
        const box = make("input");
        box.type = "checkbox";
        box.checked = view.picked.includes(row.id);
        box.disabled = !box.checked && view.picked.length >= data.pick;
        box.setAttribute("aria-label", `Compare ${row.name}`);
        box.addEventListener("change", () => {
          view.picked = box.checked ? [...view.picked, row.id] : view.picked.filter((one) => one !== row.id);
          for (const other of root.querySelectorAll(".pick input")) {
            other.disabled = !other.checked && view.picked.length >= data.pick;
          }
          say();
        });
        holder.append(box);
      }
      element.append(holder);
    }
    if (!row.reason) {
      element.append(...data.columns.map((one) => cell(row, one, axes[one.id])));
      return element;
    }
    // A row without figures: what there is, then one cell that says why there are none.
    const lead = data.columns.findIndex((one) => one.id === data.reasonFrom);
    element.append(...data.columns.slice(0, lead).map((one) => cell(row, one, null)));
    const said = make("td", "reason");
    said.colSpan = data.columns.length - lead;
    said.append(make("span", "", row.reason));
    if (row.log) {
      const link = make("a", "", "log");
      link.href = row.log.href;
      link.addEventListener("click", (event) => {
        if (data.plainLinks || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
        event.preventDefault();
        setTriggerValue("opened", row.log.id);
      });
      said.append(" ", link);
    }
    element.append(said);
    return element;
  }

  function draw(focus) {
    const axes = Object.fromEntries(data.columns.filter((one) => one.axis).map((one) => [one.id, one.axis]));
    const table = make("table");
    // Readers hear it with the table; what is seen stands above, where it does not scroll away.
    if (data.caption) table.append(make("caption", "unseen", data.caption));
    table.append(heads());
    const width = data.columns.length + (data.pick ? 1 : 0);
    const shown = data.rows.filter(wanted);
    let left = kept.all ? Infinity : kept.limit;
    for (const group of data.groups || [{ id: "", heading: "" }]) {
      const own = order(shown.filter((row) => (row.group || "") === group.id));
      if (!own.length) continue;
      const body = make("tbody");
      const searching = words().length > 0;
      const open = searching || (kept.open.has(group.id) ? kept.open.get(group.id) : group.open !== false);
      if (group.heading) {
        const holder = make("tr", "group");
        const head = make("th");
        head.colSpan = width;
        head.scope = "rowgroup";
        const button = make("button", "fold");
        button.type = "button";
        button.dataset.group = group.id;
        button.setAttribute("aria-expanded", open);
        button.append(make("span", "turn", open ? "▾ " : "▸ "), make("span", "", group.heading));
        button.append(make("span", "sub", `${own.length} ${own.length === 1 ? "row" : "rows"}`));
        button.addEventListener("click", () => {
          kept.open.set(group.id, !open);
          draw();
          root.querySelector(`button[data-group="${CSS.escape(group.id)}"]`)?.focus();
        });
        head.append(button);
        if (group.note) head.append(make("span", "note", group.note));
        holder.append(head);
        body.append(holder);
      }
      if (open) {
        body.append(...own.slice(0, Math.max(0, left)).map((row) => line(row, axes)));
        left -= own.length;
      }
      table.append(body);
    }
    const holder = kept.holder;
    const [x, y] = [holder.scrollLeft, holder.scrollTop];
    holder.replaceChildren(table);
    holder.scrollTo(x, y);
    kept.more.replaceChildren();
    if (left < 0) {
      const button = make("button", "chip", `Show ${-left} more rows`);
      button.type = "button";
      button.addEventListener("click", () => { kept.limit += 1000; draw(); });
      kept.more.append(button);
    }
    if (!shown.length) {
      const box = make("p", "empty", data.rows.length ? "No row matches. " : data.empty || "There is nothing here yet.");
      if (data.rows.length) {
        const button = make("button", "chip", "Show all rows");
        button.type = "button";
        button.addEventListener("click", () => { view.find = ""; view.filters = {}; build(); say(); });
        box.append(button);
      }
      kept.more.append(box);
    }
    if (kept.status) kept.status.textContent = shown.length === data.rows.length ? "" : `${shown.length} of ${data.rows.length} rows`;
    if (focus) root.querySelector(`button[data-sort="${CSS.escape(focus)}"]`)?.focus();
    const current = kept.scroll && holder.querySelector("tr[aria-current]");
    // Of the table alone: the page stays where it is.
    if (current) holder.scrollTop = Math.max(0, current.offsetTop - holder.clientHeight / 2);
    kept.scroll = false;
  }

  function build() {
    const active = root.getRootNode().activeElement;
    const typing = active && active.type === "search" && root.contains(active) ? active.selectionStart : null;
    const sorted = active?.dataset?.sort;
    kept.holder = make("div", "holder");
    kept.holder.tabIndex = 0;
    kept.holder.setAttribute("role", "region");
    kept.holder.setAttribute("aria-label", data.name || "Table");
    if (data.height) kept.holder.style.maxHeight = data.height;
    kept.more = make("div", "more");
    const needsBar = data.searchable || (data.facts || []).length || data.precise;
    kept.status = null;
    const said = data.caption ? [make("p", "caption", data.caption)] : [];
    said.forEach((one) => one.setAttribute("aria-hidden", "true"));
    root.replaceChildren(...(needsBar ? [bar()] : []), ...said, kept.holder, kept.more);
    draw(sorted);
    if (typing !== null) {
      const input = root.querySelector("input[type=search]");
      input.focus();
      input.setSelectionRange(typing, typing);
    }
    root.dataset.ready = data.version;
  }

  build();
  const before = () => { kept.all = true; draw(); };
  const after = () => { kept.all = false; draw(); };
  window.addEventListener("beforeprint", before);
  window.addEventListener("afterprint", after);
  kept.stop?.();
  kept.stop = () => {
    window.removeEventListener("beforeprint", before);
    window.removeEventListener("afterprint", after);
  };
  return kept.stop;
}
