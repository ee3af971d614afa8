// Draws the parts of a page from the data beside them. The address keeps what the reader chose, after its #.
"use strict";
(() => {
  const kept = (() => {
    try { return JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}"); } catch { return {}; }
  })();
  const keep = (name, value) => {
    kept[name] = value;
    history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(kept))}`);
  };
  const draws = { table: tablePart, viewer: viewerPart };

  function mount(host, kind, data, trigger) {
    const root = host.shadowRoot || host.attachShadow({ mode: "open" });
    if (!root.firstChild) {
      const style = document.createElement("style");
      style.textContent = partStyles[kind];
      const inner = document.createElement("div");
      inner.className = `segbench-${kind}`;
      root.append(style, inner);
    }
    draws[kind]({ data, parentElement: root, setTriggerValue: trigger, setStateValue: trigger });
  }

  const figures = [];
  function figure(host, data) {
    const paint = () => {
      const style = getComputedStyle(document.body);
      const line = "rgba(128,128,128,0.35)";
      const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
      const layout = {
        ...data.layout, template: undefined, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: style.color, family: style.fontFamily, size: 12 },
        xaxis: { ...axis, ...data.layout.xaxis }, yaxis: { ...axis, ...data.layout.yaxis },
      };
      Plotly.react(host, data.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
    };
    figures.push(paint);
    paint();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => figures.forEach((paint) => paint()));

  // ---- images: one file for each, loaded when it is opened -----------------------------------------------------
  const pictures = new Map();
  window.segbenchImage = (name, data) => pictures.set(name, data);
  function load(file, name, then) {
    if (pictures.has(name)) { then(pictures.get(name)); return; }
    const script = document.createElement("script");
    script.src = file;
    script.onload = () => then(pictures.get(name));
    document.head.append(script);
  }
  function images(host, data) {
    const list = document.querySelector("[data-part=list]");
    const viewer = host;
    let current = data.files[kept.image] ? kept.image : data.order[0];
    let options = { ...data.options };
    const show = (name) => {
      current = name;
      keep("image", name);
      const at = data.order.indexOf(name);
      load(data.files[name], name, (made) => {
        if (current !== name || !made) return;
        const steps = {
          previous: at > 0 ? data.order[at - 1] : null, next: at + 1 < data.order.length ? data.order[at + 1] : null,
          text: `${at + 1} of ${data.order.length}`,
        };
        mount(viewer, "viewer", { ...data.shared, ...made, options, steps, version: `${name}`, reset: 0 }, (kind, value) => {
          if (kind === "step") show(value);
          else if (kind === "changed") options = value;
        });
      });
      const rows = data.table.rows.map((row) => ({ ...row, current: row.id === name }));
      mount(list, "table", { ...data.table, rows, version: `${data.table.version}${name}` }, (kind, value) => {
        if (kind === "opened") { show(value); viewer.scrollIntoView({ block: "nearest" }); }
      });
    };
    show(current);
  }

  for (const host of document.querySelectorAll(".part")) {
    const kind = host.dataset.part;
    if (kind === "list") continue;
    const data = JSON.parse(host.nextElementSibling.textContent);
    if (kind === "figure") figure(host, data);
    else if (kind === "images") images(host, data);
    else {
      const view = kept[data.id];
      if (view && typeof view === "object") data.view = view;
      mount(host, kind, { ...data, plainLinks: true }, (what, value) => { if (what === "changed") keep(data.id, value); });
    }
  }
})();
