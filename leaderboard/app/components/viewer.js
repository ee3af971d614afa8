// One scored image in panels that zoom and move together: photograph, truth and label maps, drawn on canvases.
// Label maps come as grey PNGs whose grey is the class. Used by the app and, as it is, by the static site.
export default function segbenchViewer(component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".segbench-viewer");
  const kept = root.kept || (root.kept = { zoom: { scale: 1, x: 0, y: 0 }, options: null });
  if (kept.version === data.version && kept.reset === data.reset) return;
  if (kept.options === null || kept.reset !== data.reset) kept.options = { ...data.options };
  const sameSize = kept.width === data.width && kept.height === data.height;
  if (!sameSize) kept.zoom = { scale: 1, x: 0, y: 0 };
  kept.version = data.version;
  kept.reset = data.reset;
  kept.width = data.width;
  kept.height = data.height;
  const { options, zoom } = kept;
  const [W, H] = [data.width, data.height];
  const MODES = [["overlay", "Overlay"], ["mask", "Mask"], ["errors", "Errors"], ["photo", "Photograph"]];
  const ERRORS = { missed: [0, 114, 178], false: [230, 159, 0], confused: [204, 121, 167] };

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined && text !== null) element.textContent = text;
    return element;
  };
  const button = (text, name, act) => {
    const element = make("button", "plain", text);
    element.type = "button";
    if (name) { element.title = name; element.setAttribute("aria-label", name); }
    element.addEventListener("click", act);
    return element;
  };
  const say = () => setTriggerValue("changed", { ...options });
  const palette = () => data.palettes[options.palette] || data.palettes[Object.keys(data.palettes)[0]];
  const nameOf = (label) => (label === data.void ? "void" : data.classes[label] ?? `label ${label}`);

  async function labels(text) {
    const grey = await picture(text, "image/png");
    const canvas = new OffscreenCanvas(W, H);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingEnabled = false;
    pen.drawImage(grey, 0, 0, W, H);
    const all = pen.getImageData(0, 0, W, H).data;
    const found = new Uint8Array(W * H);
    for (let i = 0; i < found.length; i++) found[i] = all[4 * i];
    return found;
  }
  const picture = (text, type) =>
    createImageBitmap(new Blob([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], { type }), { colorSpaceConversion: "none" });

  // ---- drawing -------------------------------------------------------------------------------------------------
  let photo = null, truth = null, edge = [], panels = [];

  function colour(panel, i, mode) {
    const label = panel.labels[i], only = options.only;
    if (mode !== "errors") {
      if (label === data.void) return mode === "mask" ? [224, 224, 192] : null;
      if (only !== null && only !== label) return null;
      if (mode === "overlay" && label === data.background && only === null) return null;
      return palette()[label] || [128, 128, 128];
    }
    const target = truth[i];
    if (target === data.void) return [255, 255, 255];
    if (label === target) return null;
    if (only !== null) return target === only ? ERRORS.missed : label === only ? ERRORS.false : null;
    if (data.background === null) return ERRORS.confused;
    return label === data.background ? ERRORS.missed : target === data.background ? ERRORS.false : ERRORS.confused;
  }

  function paint() {
    const possible = options.mode === "errors" ? truth : options.mode === "mask" || photo;
    const mode = possible ? options.mode : "mask";
    for (const panel of panels) {
      const pen = panel.canvas.getContext("2d", { willReadFrequently: true });
      if (photo) {
        pen.drawImage(photo, 0, 0, W, H);
      } else {
        pen.fillStyle = "#d9d9d9";
        pen.fillRect(0, 0, W, H);
      }
      const image = pen.getImageData(0, 0, W, H), pixels = image.data;
      const own = mode === "errors" && panel.truth ? "overlay" : mode;
      if (panel.labels && own !== "photo") {
        const share = own === "mask" || !photo ? 1 : own === "errors" ? Math.max(0.75, options.opacity) : options.opacity;
        for (let i = 0; i < W * H; i++) {
          if (own === "mask" || own === "errors") {
            // What is right, or left out, steps back: grey and pale.
            const grey = 0.3 * pixels[4 * i] + 0.59 * pixels[4 * i + 1] + 0.11 * pixels[4 * i + 2];
            const pale = own === "mask" ? 235 : 0.45 * grey + 120;
            pixels[4 * i] = pixels[4 * i + 1] = pixels[4 * i + 2] = pale;
          }
          const found = colour(panel, i, own);
          if (found) for (let k = 0; k < 3; k++) pixels[4 * i + k] = pixels[4 * i + k] * (1 - share) + found[k] * share;
        }
      }
      if (options.outline && own !== "photo") {
        for (const i of edge) {
          const dash = ((i % W) + Math.floor(i / W)) % 6 < 3 ? 255 : 0;
          pixels[4 * i] = pixels[4 * i + 1] = pixels[4 * i + 2] = dash;
        }
      }
      pen.putImageData(image, 0, 0);
    }
    legend();
  }

  function edges(map) {
    const found = [];
    for (let y = 1; y < H; y++) {
      for (let x = 1; x < W; x++) {
        const i = y * W + x;
        if (map[i] !== map[i - 1] || map[i] !== map[i - W]) found.push(i);
      }
    }
    return found;
  }

  // ---- zoom ----------------------------------------------------------------------------------------------------
  function place() {
    for (const { canvas, frame } of panels) {
      // Shares of a panel, not pixels: panels of other widths, and after a resize, show the same part.
      const width = frame.clientWidth, height = frame.clientHeight;
      canvas.style.transform = `translate(${zoom.x * width}px, ${zoom.y * height}px) scale(${zoom.scale})`;
    }
    kept.zoomText.textContent = `${Math.round(100 * zoom.scale)} %`;
    root.dataset.zoom = zoom.scale.toFixed(2);
  }
  function scaleBy(factor, x = 0.5, y = 0.5) {
    const scale = Math.min(24, Math.max(1, zoom.scale * factor));
    zoom.x = x - ((x - zoom.x) * scale) / zoom.scale;
    zoom.y = y - ((y - zoom.y) * scale) / zoom.scale;
    zoom.scale = scale;
    hold();
  }
  function hold() {
    // No panel is moved off its picture.
    zoom.x = Math.min(0, Math.max(1 - zoom.scale, zoom.x));
    zoom.y = Math.min(0, Math.max(1 - zoom.scale, zoom.y));
    place();
  }
  function reset() {
    Object.assign(zoom, { scale: 1, x: 0, y: 0 });
    place();
  }

  function listen(panel) {
    const frame = panel.frame, pointers = new Map();
    let distance = 0;
    const at = (event) => {
      const box = frame.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    frame.addEventListener("wheel", (event) => {
      // Without a focus on the panel, or the control key, the wheel moves the page.
      if (!event.ctrlKey && !event.metaKey && root.getRootNode().activeElement !== frame) return;
      event.preventDefault();
      scaleBy(Math.exp(-event.deltaY / 300), ...at(event));
    }, { passive: false });
    frame.addEventListener("dblclick", (event) => scaleBy(2, ...at(event)));
    frame.addEventListener("pointerdown", (event) => {
      frame.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      distance = 0;
    });
    for (const name of ["pointerup", "pointercancel"]) {
      frame.addEventListener(name, (event) => { pointers.delete(event.pointerId); distance = 0; });
    }
    frame.addEventListener("pointermove", (event) => {
      const now = at(event);
      tell(panel, now);
      if (!pointers.has(event.pointerId)) return;
      const before = pointers.get(event.pointerId);
      pointers.set(event.pointerId, now);
      if (pointers.size === 2) {
        const [p, q] = [...pointers.values()];
        const apart = Math.hypot(p[0] - q[0], p[1] - q[1]);
        if (distance) scaleBy(apart / distance, (p[0] + q[0]) / 2, (p[1] + q[1]) / 2);
        distance = apart;
      } else if (zoom.scale > 1) {
        zoom.x += now[0] - before[0];
        zoom.y += now[1] - before[1];
        hold();
      }
    });
    frame.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
      if (event.key === "+" || event.key === "=") scaleBy(1.4);
      else if (event.key === "-") scaleBy(1 / 1.4);
      else if (event.key === "0" || event.key === "Escape") reset();
      else if (moves[event.key] && zoom.scale > 1) {
        zoom.x += moves[event.key][0];
        zoom.y += moves[event.key][1];
        hold();
      } else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  function tell(panel, [x, y]) {
    const px = Math.floor(((x - zoom.x) / zoom.scale) * W), py = Math.floor(((y - zoom.y) / zoom.scale) * H);
    if (px < 0 || py < 0 || px >= W || py >= H) return;
    const i = py * W + px;
    const said = panels.filter((one) => one.labels).slice(0, 6).map((one) => `${one.title}: ${nameOf(one.labels[i])}`);
    kept.readout.textContent = `(${px}, ${py})   ${said.join("   ·   ")}`;
  }

  // ---- what stands around the panels ---------------------------------------------------------------------------
  function legend() {
    kept.legend.replaceChildren();
    if (options.mode === "errors" && truth) {
      const only = options.only === null ? "" : ` (${nameOf(options.only)})`;
      const meaning = data.background === null && options.only === null
        ? [["confused with another class", ERRORS.confused]]
        : [[`missed${only}`, ERRORS.missed], [`false alarm${only}`, ERRORS.false],
          ...(options.only === null ? [["confused with another class", ERRORS.confused]] : [])];
      for (const [text, rgb] of [...meaning, ["right", [150, 150, 150]], ["void, not scored", [255, 255, 255]]]) {
        const item = make("span", "key");
        item.append(swatch(rgb), text);
        kept.legend.append(item);
      }
    }
    const counts = new Map();
    for (const map of [truth, ...panels.map((one) => one.labels)]) {
      if (map) for (const label of new Set(map)) if (label !== data.void) counts.set(label, true);
    }
    const group = make("span", "classes");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Show only one class");
    for (const label of [...counts.keys()].sort((a, b) => a - b).slice(0, 40)) {
      const item = button("", `Only ${nameOf(label)}`, () => {
        options.only = options.only === label ? null : label;
        paint();
        say();
      });
      item.className = "key class";
      item.setAttribute("aria-pressed", options.only === label);
      item.append(swatch(palette()[label] || [128, 128, 128]), nameOf(label));
      group.append(item);
    }
    kept.legend.append(group);
  }
  function swatch(rgb) {
    const element = make("span", "swatch");
    element.style.backgroundColor = `rgb(${rgb.map(Number).join(",")})`;
    return element;
  }

  function bar() {
    const line = make("div", "tools");
    if (data.steps) {
      const steps = make("div", "steps");
      const back = button("‹ Previous", "Previous image (left arrow key)", () => setTriggerValue("step", data.steps.previous));
      const on = button("Next ›", "Next image (right arrow key)", () => setTriggerValue("step", data.steps.next));
      back.disabled = data.steps.previous === null;
      on.disabled = data.steps.next === null;
      const title = make("span", "where");
      title.append(make("b", "", data.image), make("span", "", data.steps.text));
      steps.append(back, on, title);
      line.append(steps);
    }
    const modes = make("div", "segments");
    modes.setAttribute("role", "radiogroup");
    modes.setAttribute("aria-label", "Show");
    const usable = MODES.filter(([mode]) => (mode !== "errors" || truth) && (!["photo", "overlay"].includes(mode) || photo));
    // What this image cannot show is kept in mind for the next one.
    const fits = () => (usable.some(([mode]) => mode === options.mode) ? options.mode : "mask");
    const radios = usable.map(([mode, text]) => {
      const item = make("button", "", text);
      item.type = "button";
      item.dataset.mode = mode;
      item.setAttribute("role", "radio");
      const mark = () => {
        for (const other of radios) {
          const on = other.dataset.mode === fits();
          other.setAttribute("aria-checked", on);
          other.tabIndex = on ? 0 : -1;
        }
      };
      const choose = (to) => { options.mode = to.dataset.mode; mark(); paint(); to.focus(); say(); };
      item.addEventListener("click", () => choose(item));
      item.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        choose(radios[(radios.indexOf(item) + step + radios.length) % radios.length]);
      });
      item.setAttribute("aria-checked", mode === fits());
      item.tabIndex = mode === fits() ? 0 : -1;
      return item;
    });
    modes.append(...radios);
    line.append(modes);
    if (photo) {
      const slider = make("input");
      Object.assign(slider, { type: "range", min: 0.1, max: 1, step: 0.05 });
      slider.value = options.opacity;
      slider.addEventListener("input", () => { options.opacity = +slider.value; paint(); });
      slider.addEventListener("change", say);
      const label = make("label", "", "Opacity ");
      label.append(slider);
      line.append(label);
    }
    if (truth) {
      const box = make("input");
      box.type = "checkbox";
      box.checked = options.outline;
      box.addEventListener("change", () => { options.outline = box.checked; paint(); say(); });
      const label = make("label");
      label.append(box, " True outline");
      line.append(label);
    }
    const select = make("select");
    for (const [id, text] of data.paletteNames) {
      const option = make("option", "", text);
      option.value = id;
      option.selected = id === options.palette;
      select.append(option);
    }
    select.addEventListener("change", () => { options.palette = select.value; paint(); say(); });
    const colours = make("label", "", "Colours ");
    colours.append(select);
    line.append(colours);
    const group = make("div", "zoom");
    kept.zoomText = make("output", "", "100 %");
    group.append(button("−", "Zoom out", () => scaleBy(1 / 1.6)), kept.zoomText, button("+", "Zoom in", () => scaleBy(1.6)),
      button("Whole", "Show the whole image", reset));
    line.append(group);
    return line;
  }

  function frameOf(panel) {
    const figure = make("figure");
    const frame = make("div", "frame");
    frame.style.aspectRatio = `${W} / ${H}`;
    frame.tabIndex = 0;
    frame.setAttribute("role", "img");
    frame.setAttribute("aria-label", `${panel.title}, image ${data.image}${panel.sub ? `: ${panel.sub}` : ""}`);
    const canvas = make("canvas");
    canvas.width = W;
    canvas.height = H;
    frame.append(canvas);
    const text = make("figcaption");
    text.append(make("b", "", panel.title));
    if (panel.sub) text.append(make("span", "", panel.sub));
    figure.append(frame, text);
    Object.assign(panel, { canvas, frame });
    listen(panel);
    return figure;
  }

  async function build(version) {
    root.setAttribute("aria-busy", "true");
    const [shown, target, ...maps] = await Promise.all([
      data.photo ? picture(data.photo, data.photoType || "image/jpeg") : null,
      data.truth ? labels(data.truth) : null,
      ...data.panels.map((panel) => labels(panel.png)),
    ]);
    if (kept.version !== version) return; // another image came meanwhile
    [photo, truth] = [shown, target];
    edge = truth ? edges(truth) : [];
    panels = data.panels.map((panel, i) => ({ title: panel.title, sub: panel.sub, labels: maps[i] }));
    if (truth) panels.unshift({ title: "Truth", sub: "", labels: truth, truth: true });
    const active = root.getRootNode().activeElement;
    const focused = root.contains(active) ? active.getAttribute("aria-label") : null;
    kept.readout = make("output", "readout", "Click an image, then turn the wheel to zoom and drag to move: all panels follow. Keys: + − 0 and arrows.");
    kept.legend = make("div", "legend");
    const grid = make("div", data.small ? "grid small" : "grid");
    const line = bar();
    grid.append(...panels.map(frameOf));
    root.replaceChildren(line, kept.legend, grid, kept.readout);
    paint();
    place();
    if (focused) root.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    root.setAttribute("aria-busy", "false");
    root.dataset.ready = data.image;
  }

  kept.stop?.();
  const keys = (event) => {
    const to = event.composedPath()[0];
    if (!data.steps || event.ctrlKey || event.altKey || event.metaKey || to.closest?.("input, textarea, select, [role=radio], [role=combobox], .frame, .holder")) return;
    const next = event.key === "ArrowLeft" ? data.steps.previous : event.key === "ArrowRight" ? data.steps.next : null;
    if (next !== null && next !== undefined) { event.preventDefault(); setTriggerValue("step", next); }
  };
  const resized = new ResizeObserver(() => panels.length && place());
  window.addEventListener("keydown", keys);
  resized.observe(root);
  kept.stop = () => { window.removeEventListener("keydown", keys); resized.disconnect(); };
  build(data.version).catch(() => {
    root.replaceChildren(make("p", "failed", "This image cannot be drawn: one of its label maps is damaged."));
    root.dataset.ready = data.image;
  });
  return kept.stop;
}
