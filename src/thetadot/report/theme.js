(() => {
  "use strict";
  const page = document.documentElement;
  const button = document.getElementById("mode");
  const system = matchMedia("(prefers-color-scheme: dark)");

  // a page opened from a file may be denied its storage
  const remembered = () => { try { return localStorage.getItem("thetadot-mode"); } catch { return null; } };
  const remember = (mode) => { try { localStorage.setItem("thetadot-mode", mode); } catch { /* for this visit only */ } };

  const wished = () => {
    const hash = location.hash.slice(1);
    const mode = hash === "dark" || hash === "light" ? hash : remembered();
    return mode === "dark" || mode === "light" ? mode : null;
  };
  const isDark = () => (page.dataset.mode ?? (system.matches ? "dark" : "light")) === "dark";

  // every model that has a colour carries the roles of its colours in its tags
  const repaint = () => {
    const style = getComputedStyle(page);
    for (const doc of window.Bokeh?.documents ?? []) {
      for (const model of doc.all_models) {
        for (const tag of model.tags) {
          const roles = tag?.paint ?? (tag instanceof Map ? tag.get("paint") : null);
          if (roles == null) continue;
          const pairs = roles instanceof Map ? [...roles] : Object.entries(roles);
          model.setv(Object.fromEntries(pairs.map(([name, role]) => {
            const colour = style.getPropertyValue("--" + role).trim();
            return [name, model[name]?.value !== undefined ? { value: colour } : colour];
          })));
        }
      }
    }
  };
  // printing does not wait for the next frame
  const redraw = () => {
    for (const plot of document.querySelectorAll(".plot")) window.Bokeh?.index.get_by_id(plot.dataset.root)?.repaint?.();
  };
  const show = () => {
    button.textContent = isDark() ? "Light mode" : "Dark mode";
    button.setAttribute("aria-pressed", String(isDark()));
    repaint();
  };
  const apply = (mode) => {
    if (mode) page.dataset.mode = mode; else delete page.dataset.mode;
    show();
  };

  const reset = (event) => {
    for (const plot of event.target.closest("figure").querySelectorAll(".plot")) {
      Bokeh.index.get_by_id(plot.dataset.root)?.model.reset.emit();
    }
  };

  const start = async () => {
    const content = JSON.parse(document.getElementById("document").textContent);
    const roots = Object.fromEntries([...document.querySelectorAll(".plot")].map((plot) => [plot.dataset.root, plot.id]));
    await Bokeh.embed.embed_items({ run: content }, [{ docid: "run", roots, root_ids: Object.keys(roots) }]);
    // with a finger, dragging over a picture scrolls the page
    if (matchMedia("(pointer: coarse)").matches) {
      for (const doc of Bokeh.documents) {
        for (const model of doc.all_models) {
          if (/^(BoxZoom|WheelZoom)Tool$/.test(model.type)) model.active = false;
        }
      }
    }
    repaint();
  };

  button.hidden = false;
  button.addEventListener("click", () => {
    const mode = isDark() ? "light" : "dark";
    remember(mode);
    apply(mode);
  });
  for (const each of document.querySelectorAll("[data-reset]")) each.addEventListener("click", reset);
  addEventListener("hashchange", () => { if (/^#(dark|light)$/.test(location.hash)) apply(wished()); });
  system.addEventListener("change", show);

  let screen = null;
  addEventListener("beforeprint", () => { screen = page.dataset.mode ?? ""; apply("light"); redraw(); });
  addEventListener("afterprint", () => { if (screen !== null) { apply(screen || null); screen = null; } });

  apply(wished());
  void start();
})();
