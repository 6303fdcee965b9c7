(() => {
  "use strict";
  const page = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // a page opened from a file may be denied its storage
  const remembered = () => { try { return localStorage.getItem("thetadot-mode"); } catch { return null; } };
  const remember = (mode) => { try { localStorage.setItem("thetadot-mode", mode); } catch { /* for this visit only */ } };

  const wished = () => {
    const hash = location.hash.slice(1);
    const mode = hash === "dark" || hash === "light" ? hash : remembered();
    return mode === "dark" || mode === "light" ? mode : null;
  };
  const isDark = () => (page.dataset.mode ?? (system.matches ? "dark" : "light")) === "dark";

  // BokehJS labels a logarithmic axis of less than two decades as a linear one, at its upper end alone
  const ticks = (low, high) => {
    const decades = Math.log10(high / low);
    if (!(low > 0) || !Number.isFinite(decades)) return [];
    if (decades < 0.5) {
      const unit = 10 ** Math.floor(Math.log10(high - low));
      const step = [0.2, 0.5, 1, 2].map((part) => part * unit).find((size) => (high - low) / size <= 6) ?? 5 * unit;
      const first = Math.ceil(low / step - 1e-9);
      const count = Math.max(Math.floor(high / step + 1e-9) - first + 1, 0);
      return Array.from({ length: count }, (_, at) => Number(((first + at) * step).toPrecision(12)));
    }
    const parts = decades < 1 ? [1, 1.5, 2, 3, 4, 5, 7] : decades < 2.2 ? [1, 2, 5] : decades < 3.2 ? [1, 3] : [1];
    const [first, last] = [Math.floor(Math.log10(low)), Math.floor(Math.log10(high))];
    const every = Math.ceil(decades / 7);
    const found = [];
    for (let power = Math.floor(first / every) * every; power <= last; power += every) {
      for (const part of parts) {
        const tick = Number(`${part}e${power}`);
        if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) found.push(tick);
      }
    }
    return found;
  };

  let views = [];
  let ranges = new Map();
  let generation = 0;

  let every = [];
  const noted = (model, name) => {
    for (const tag of model.tags) {
      const value = tag instanceof Map ? tag.get(name) : tag?.[name];
      if (value != null) return value;
    }
    return null;
  };

  // every model that has a colour carries the roles of its colours in its tags
  const repaint = () => {
    const style = getComputedStyle(page);
    for (const model of every) {
      const roles = noted(model, "paint");
      if (roles == null) continue;
      const pairs = roles instanceof Map ? [...roles] : Object.entries(roles);
      model.setv(Object.fromEntries(pairs.map(([name, role]) => {
        const colour = style.getPropertyValue("--" + role).trim();
        return [name, model[name]?.value !== undefined ? { value: colour } : colour];
      })));
    }
  };
  // every drawn thing of one of several runs, or of one of several quantities, says so in its tags
  const sieve = () => {
    const off = new Set(all("input[data-run]").filter((box) => !box.checked).map((box) => Number(box.dataset.run)));
    const shown = new Set(all("button[data-show][aria-pressed=true]").map((button) => button.dataset.show));
    for (const model of every) {
      const run = noted(model, "run");
      const show = noted(model, "show");
      if (run == null && show == null) continue;
      model.visible = !off.has(run) && (show == null || shown.has(show));
    }
    for (const part of all("[data-of-run]")) part.classList.toggle("off", off.has(Number(part.dataset.ofRun)));
    for (const scale of all("[data-scale]")) scale.hidden = !shown.has(scale.dataset.scale);
  };
  // printing waits neither for the next frame nor for a new width: paper gets copies, which scale as images do
  const copied = () => {
    for (const plot of all(".plot")) {
      const made = view(plot);
      made?.repaint?.();
      const copy = made?.export?.("png", true)?.canvas;
      if (!copy) continue;
      copy.className = "copy";
      copy.removeAttribute("style");
      plot.append(copy);
    }
  };
  const show = () => {
    const button = document.getElementById("mode");
    button.hidden = false;
    button.textContent = isDark() ? "Light mode" : "Dark mode";
    button.setAttribute("aria-pressed", String(isDark()));
    repaint();
  };
  const apply = (mode) => {
    if (mode) page.dataset.mode = mode; else delete page.dataset.mode;
    show();
  };

  const view = (plot) => views.find((each) => each.model.id === plot.dataset.root);
  const limits = (model) => [model.x_range, model.y_range].map((range) => [range.start, range.end]);

  const embed = async (root, text) => {
    generation += 1;
    const plots = all(".plot", root);
    for (const plot of plots) plot.id = `${plot.dataset.key}-${generation}`;
    const roots = Object.fromEntries(plots.map((plot) => [plot.dataset.root, plot.id]));
    const made = await Bokeh.embed.embed_items({ run: JSON.parse(text) }, [{ docid: "run", roots, root_ids: Object.keys(roots) }]);
    return made.flat().map((each) => [...(each?.roots ?? [each])]).flat();
  };
  const adopt = (made) => {
    views = made;
    every = [...new Set(views.map((each) => each.model.document))].flatMap((doc) => [...doc.all_models]);
    for (const model of every) {
      if (model.type === "LogTicker") model.get_ticks = (low, high) => ({ major: ticks(low, high), minor: [] });
    }
    for (const each of views) each.request_paint?.();
    ranges = new Map(all(".plot").map((plot) => [plot.dataset.key, limits(view(plot).model)]));
    // with a finger, dragging over a picture scrolls the page
    if (coarse.matches) {
      for (const model of every) if (/^(BoxZoom|WheelZoom)Tool$/.test(model.type)) model.active = false;
    }
  };

  // what a reader has set: which runs and quantities are seen, what is open, where zoomed, where scrolled
  const habits = () => ({
    off: all("input[data-run]").filter((box) => !box.checked).map((box) => box.dataset.name),
    shown: all("button[data-show][aria-pressed=true]").map((button) => button.dataset.show),
    sorted: all("th[aria-sort=ascending], th[aria-sort=descending]").map((head) => [head.querySelector("button").id, head.getAttribute("aria-sort")]),
    open: all("details[open]").map((part) => part.dataset.key),
    focus: document.activeElement?.id ?? "",
    zoomed: all(".plot").flatMap((plot) => {
      const now = limits(view(plot).model);
      const begun = ranges.get(plot.dataset.key);
      const moved = now.map((range, axis) => range.some((end, at) => end !== begun[axis][at]) ? range : null);
      return moved.some(Boolean) ? [[plot.dataset.key, moved]] : [];
    }),
    left: scrollX,
    top: scrollY,
  });
  const resume = (kept) => {
    for (const box of all("input[data-run]")) box.checked = !kept.off.includes(box.dataset.name);
    const offered = all("button[data-show]").map((button) => button.dataset.show);
    if (kept.shown.some((name) => offered.includes(name))) {
      for (const button of all("button[data-show]")) button.setAttribute("aria-pressed", String(kept.shown.includes(button.dataset.show)));
    }
    for (const part of all("details")) part.open = kept.open.includes(part.dataset.key);
    for (const [id, direction] of kept.sorted) {
      const head = document.getElementById(id)?.closest("th");
      if (head) sorted(head, direction);
    }
    for (const [key, moved] of kept.zoomed) {
      const plot = all(".plot").find((each) => each.dataset.key === key);
      if (!plot) continue;
      const model = view(plot).model;
      [model.x_range, model.y_range].forEach((range, axis) => {
        if (moved[axis]) range.setv({ start: moved[axis][0], end: moved[axis][1] });
      });
    }
    if (kept.focus) document.getElementById(kept.focus)?.focus({ preventScroll: true });
    scrollTo({ left: kept.left, top: kept.top, behavior: "instant" });
  };

  // a newer page of the same runs: drawn out of sight first, so that nothing flickers
  const renew = async (fresh) => {
    const coming = document.createElement("div");
    coming.className = "coming";
    coming.setAttribute("aria-hidden", "true");
    for (const button of all("#mode", fresh)) button.hidden = false;
    const main = document.adoptNode(fresh.querySelector("main"));
    coming.append(main);
    document.body.append(coming);
    let made;
    try {
      made = await embed(main, fresh.getElementById("document").textContent);
    } catch (error) {
      coming.remove();
      throw error;
    }
    const kept = habits();
    const past = views[0]?.model.document;
    for (const old of views) old.remove();
    if (past) {
      past.clear();
      Bokeh.documents.splice(Bokeh.documents.indexOf(past), 1);
    }
    document.querySelector("main").replaceWith(main);
    document.querySelector("header").replaceWith(document.adoptNode(fresh.querySelector("header")));
    coming.remove();
    document.title = fresh.title;
    adopt(made);
    resume(kept);
    sieve();
    show();
  };

  // rows by a column's values: as numbers where they are, missing ones last
  const sorted = (head, direction) => {
    const column = [...head.parentElement.children].indexOf(head);
    const rows = all("tbody tr", head.closest("table"));
    const value = (row) => row.children[column].dataset.value;
    const order = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      const apart = Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? a.localeCompare(b, "en", { numeric: true }) : Number(a) - Number(b);
      return direction === "descending" ? -apart : apart;
    };
    rows[0]?.parentElement.append(...rows.sort(order));
    for (const other of head.parentElement.children) other.setAttribute("aria-sort", other === head ? direction : "none");
  };
  const copy = async (button) => {
    const code = button.parentElement.querySelector("code");
    const said = button.textContent;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch { // no permission, or an old browser: by the selection
      getSelection().selectAllChildren(code);
      if (!document.execCommand("copy")) return;
      getSelection().removeAllRanges();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = said; }, 1500);
  };

  addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button) return;
    if (button.id === "mode") {
      const mode = isDark() ? "light" : "dark";
      remember(mode);
      apply(mode);
    } else if ("sort" in button.dataset) {
      const head = button.closest("th");
      sorted(head, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
    } else if ("copy" in button.dataset) {
      void copy(button);
    } else if (button.dataset.show) {
      for (const other of all("button[data-show]", button.closest("figure"))) other.setAttribute("aria-pressed", String(other === button));
      sieve();
    } else if (button.dataset.runs) {
      for (const box of all("input[data-run]")) box.checked = button.dataset.runs === "all";
      sieve();
    } else if ("reset" in button.dataset) {
      for (const plot of all(".plot", button.closest("figure"))) {
        const model = view(plot).model;
        const begun = ranges.get(plot.dataset.key);
        [model.x_range, model.y_range].forEach((range, axis) => range.setv({ start: begun[axis][0], end: begun[axis][1] }));
      }
    }
  });
  addEventListener("change", (event) => { if (event.target.matches?.("input[data-run]")) sieve(); });
  addEventListener("hashchange", () => { if (/^#(dark|light)$/.test(location.hash)) apply(wished()); });
  system.addEventListener("change", show);

  let screen = null;
  addEventListener("beforeprint", () => { for (const part of all("details.verdicts")) part.open = true; screen = page.dataset.mode ?? ""; apply("light"); copied(); });
  addEventListener("afterprint", () => { for (const copy of all(".copy")) copy.remove(); if (screen !== null) { apply(screen || null); screen = null; } });

  const start = async () => {
    adopt(await embed(document, document.getElementById("document").textContent));
    sieve();
    show();
  };
  apply(wished());
  window.thetadot = { renew, started: start() };
})();
