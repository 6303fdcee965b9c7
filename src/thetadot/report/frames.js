(() => {
  "use strict";
  const playing = new WeakMap();
  const noted = (model) => {
    for (const tag of model.tags) {
      const names = tag instanceof Map ? tag.get("frames") : tag?.frames;
      if (names != null) return names;
    }
    return null;
  };
  const model = (id) => Bokeh.documents.map((each) => each.get_model_by_id(id)).find(Boolean);

  const show = (figure, frame) => {
    const slider = figure.querySelector("input[data-frames]");
    const label = slider.dataset.frames.split("|")[frame];
    slider.value = frame;
    slider.setAttribute("aria-valuetext", label);
    figure.querySelector("output").textContent = label;
    for (const plot of figure.querySelectorAll(".plot")) {
      for (const source of model(plot.dataset.root)?.references() ?? []) {
        const names = source.type === "ColumnDataSource" ? noted(source) : null;
        if (names == null) continue;
        const data = { ...source.data };
        for (const name of names) data[name] = data[`${name}@${frame}`];
        source.data = data;
      }
    }
  };
  const halt = (figure) => {
    clearInterval(playing.get(figure));
    playing.delete(figure);
    const button = figure.querySelector("[data-play]");
    button.textContent = "Play";
    button.setAttribute("aria-pressed", "false");
  };
  const play = (figure) => {
    const slider = figure.querySelector("input[data-frames]");
    const last = Number(slider.max);
    if (Number(slider.value) >= last) show(figure, 0);
    const button = figure.querySelector("[data-play]");
    button.textContent = "Stop";
    button.setAttribute("aria-pressed", "true");
    playing.set(figure, setInterval(() => {
      if (!figure.isConnected || Number(slider.value) >= last) halt(figure);
      else show(figure, Number(slider.value) + 1);
    }, 150));
  };

  addEventListener("click", (event) => {
    const figure = event.target.closest?.("[data-play]")?.closest("figure");
    if (figure) (playing.has(figure) ? halt : play)(figure);
  });
  addEventListener("input", (event) => {
    if (!event.target.matches?.("input[data-frames]")) return;
    const figure = event.target.closest("figure");
    if (playing.has(figure)) halt(figure);
    show(figure, Number(event.target.value));
  });
})();
