// The charts and sliders of the report; the numbers are those of the run's own files, in #data.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const drawn = []; // functions that draw a chart anew, as colours change with the theme and in print
  const whole = new Intl.NumberFormat("en-US");
  const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  /** Colours from the first layer to the last. */
  function between(count) {
    const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const [from, to] = [parse(colour("first")), parse(colour("last"))];
    return Array.from({ length: count }, (_, i) => {
      const share = count > 1 ? i / (count - 1) : 0;
      return `rgb(${from.map((value, k) => Math.round(value + share * (to[k] - value))).join(" ")})`;
    });
  }

  function axis(title, more = {}) {
    const ticks = { color: colour("soft"), maxRotation: 60, autoSkipPadding: 12, ...more.ticks };
    return {
      ...more, ticks, grid: { color: colour("line"), ...more.grid }, border: { display: false },
      title: { display: Boolean(title), text: title, color: colour("soft") },
    };
  }

  /** Draw a chart now, and again when the colours change; `make` returns Chart.js's configuration. */
  function draw(id, make) {
    if (!at(id)) return () => {};
    let chart = null;
    const again = () => {
      if (chart) chart.destroy();
      const made = make();
      made.options = { animation: false, responsive: true, maintainAspectRatio: false, ...made.options };
      made.options.plugins = { legend: { display: false }, ...made.options.plugins };
      chart = new Chart(at(id), made);
    };
    drawn.push(again);
    again();
    return again;
  }

  /** What the predicted loss is called: without a refit it is measured, and the run may refit. */
  function lossTitle() {
    const { errors, refitted } = data.plans;
    return errors ? "predicted error" : refitted ? "loss without the refit" : "predicted loss";
  }

  function figure(box, name, value, text, note = "") {
    const place = box.querySelector(`[data-figure=${name}]`);
    place.dataset.value = value ?? "";
    place.textContent = text;
    if (note) place.append(Object.assign(document.createElement("small"), { textContent: note }));
  }

  function showFigures(id, plan) {
    const box = at(`${id}-figures`), { before, layers, errors } = data.plans;
    const removed = plan.removed.reduce((sum, one) => sum + one, 0);
    const all = layers.reduce((sum, one) => sum + one.channels, 0);
    figure(box, "layers", plan.removed.filter(Boolean).length, `${plan.removed.filter(Boolean).length} of ${layers.length}`);
    figure(box, "channels", removed, whole.format(removed), `${percent(removed / all)} of ${whole.format(all)}`);
    box.querySelector("[data-title=loss]").textContent = lossTitle();
    if (errors) figure(box, "loss", plan.loss, plan.loss.toFixed(3), "of the refitted layers, summed");
    else figure(box, "loss", plan.loss, percent(plan.joint, 2), `joint; ${percent(plan.loss, 2)} as a sum`);
    for (const name of ["macs", "params"]) {
      figure(box, name, plan[name], whole.format(plan[name]), `${percent(1 - plan[name] / before[name])} removed`);
    }
    if (plan.ms === null) figure(box, "ms", null, "not known", "no latency model here");
    else figure(box, "ms", plan.ms, plan.ms.toFixed(1), `${percent(1 - plan.ms / before.ms)} less, predicted`);
  }

  function showRows(id, plan) {
    const rows = data.plans.layers.map((layer, i) => [layer.name, layer.channels, plan.removed[i]]).filter((row) => row[2]);
    at(`${id}-rows`).replaceChildren(...rows.map(([name, channels, removed]) => {
      const row = document.createElement("li");
      row.append(
        Object.assign(document.createElement("code"), { textContent: name }),
        Object.assign(document.createElement("span"), { textContent: `${channels} → ${channels - removed}` }),
      );
      return row;
    }));
    if (!rows.length) at(`${id}-rows`).append(Object.assign(document.createElement("li"), { textContent: "none" }));
  }

  /** The bars of a plan: the fraction of its channels that each layer loses. */
  function planBars(id, current) {
    return draw(`${id}-layers`, () => {
      const { layers } = data.plans, { removed } = current();
      return {
        type: "bar",
        data: {
          labels: layers.map((layer) => layer.name),
          datasets: [{
            data: layers.map((layer, i) => 100 * removed[i] / layer.channels),
            backgroundColor: colour("after"), borderRadius: 2, categoryPercentage: 0.9, barPercentage: 0.9,
          }],
        },
        options: {
          scales: {
            x: axis("layers, in the order of the network", { ticks: { display: false }, grid: { display: false } }),
            y: axis("% of channels removed", { min: 0, max: 100 }),
          },
          interaction: { mode: "index", intersect: false },
          plugins: { tooltip: { callbacks: { label: ({ dataIndex: i }) =>
            `${removed[i]} of ${layers[i].channels} channels removed, ${layers[i].channels - removed[i]} stay` } } },
        },
      };
    });
  }

  /** Connect a slider with its figures, bars and table; `shown` is called with the step and the plan. */
  function panel(id, curve, name, shown) {
    const slider = at(`${id}-slider`), box = at(`${id}-candidates`);
    let step = curve.steps[0], plan = step.plans[0];
    const bars = planBars(id, () => plan);
    const show = (chosen) => {
      plan = chosen;
      showFigures(id, plan);
      showRows(id, plan);
      bars();
      shown(step, plan);
    };
    const choices = () => {
      box.hidden = step.plans.length < 2;
      box.replaceChildren(box.firstElementChild, ...step.plans.map((one, i) => {
        const label = document.createElement("label");
        const input = Object.assign(document.createElement("input"), { type: "radio", name: `${id}-candidate`, value: i });
        input.checked = i === 0;
        input.addEventListener("change", () => show(one));
        const pruned = one.removed.filter(Boolean).length;
        label.append(input, ` ${pruned} layer${pruned === 1 ? "" : "s"}`);
        return label;
      }));
    };
    const moved = () => {
      step = curve.steps[Number(slider.value)];
      at(`${id}-at`).textContent = name(step.at);
      at(`${id}-at`).dataset.value = step.at;
      slider.setAttribute("aria-valuetext", name(step.at));
      choices();
      show(step.plans[0]);
    };
    const own = curve.steps.findIndex((one) => one.at === curve.run);
    slider.max = curve.steps.length - 1;
    slider.value = own >= 0 ? own : Math.floor((curve.steps.length - 1) / 3);
    slider.addEventListener("input", moved);
    if (own >= 0) {
      at(`${id}-run`).hidden = false;
      at(`${id}-run`).addEventListener("click", () => { slider.value = own; moved(); });
    }
    moved();
  }

  /** The losses of all layers; up to twice the largest tolerance of the slider, where there is one. */
  function sensitivityChart(tolerance, largest) {
    return draw("sensitivity-chart", () => {
      const layers = data.sensitivities, colours = between(layers.length);
      const lines = layers.map((layer, i) => ({
        label: layer.name, borderColor: colours[i], backgroundColor: colours[i], borderWidth: 1.4, pointRadius: 1.8,
        pointHoverRadius: 5, data: [[0, 0], ...layer.points].map(([ratio, loss]) => ({ x: 100 * ratio, y: 100 * loss })),
      }));
      const most = Math.max(...lines.flatMap((line) => line.data.map((point) => point.x)));
      const least = Math.min(...lines.flatMap((line) => line.data.map((point) => point.y)));
      const limit = tolerance(), top = limit === null ? 100 : 200 * largest;
      if (limit !== null) {
        lines.unshift({
          label: "tolerance", borderColor: colour("mark"), borderWidth: 2, borderDash: [6, 4], pointRadius: 0,
          pointHitRadius: 0, data: [{ x: 0, y: 100 * limit }, { x: most, y: 100 * limit }],
        });
      }
      return {
        type: "line", data: { datasets: lines },
        options: {
          scales: {
            x: axis("% of the layer's channels removed", { type: "linear", min: 0, max: most }),
            y: axis(`loss, % of ${data.metric}`, { min: Math.floor(Math.max(least, -0.2 * top)), max: top }),
          },
          interaction: { mode: "nearest", intersect: false },
          plugins: { tooltip: { callbacks: { title: () => "", label: ({ dataset, parsed }) =>
            `${dataset.label}: ${parsed.y.toFixed(2)} % lost at ${parsed.x.toFixed(0)} %` } } },
        },
      };
    });
  }

  function targetChart(curve, current) {
    const { before, errors } = data.plans, key = { latency: "ms", params: "params" }[curve.by] || "macs";
    const what = { ms: "milliseconds", params: "parameters", macs: "multiply-accumulates" }[key];
    const loss = (plan) => errors ? plan.loss : 100 * plan.joint;
    const point = (plan) => ({ x: 100 * (1 - plan[key] / before[key]), y: loss(plan) });
    return draw("target-chart", () => {
      const firsts = curve.steps.map((step) => point(step.plans[0])).sort((a, b) => a.x - b.x);
      const others = curve.steps.flatMap((step) => step.plans.slice(1).map(point));
      const own = curve.steps.find((step) => step.at === curve.run);
      const round = { showLine: false, pointHoverRadius: 6 };
      return {
        type: "line",
        data: { datasets: [
          { ...round, label: "shown", data: [point(current())], pointRadius: 7, backgroundColor: colour("mark") },
          { ...round, label: "this run", data: own ? own.plans.map(point) : [], pointRadius: 10, borderColor: colour("mark"), borderWidth: 2, backgroundColor: "transparent" },
          { label: "plans", data: firsts, borderColor: colour("after"), backgroundColor: colour("after"), pointRadius: 4, borderWidth: 2 },
          { ...round, label: "other candidates", data: others, pointRadius: 3.5, backgroundColor: colour("before") },
        ] },
        options: {
          scales: {
            x: axis(`% of ${what} removed`, { type: "linear", min: 0 }),
            y: axis(errors ? lossTitle() : `${lossTitle()}, %`, { min: 0 }),
          },
          interaction: { mode: "nearest", intersect: false },
          plugins: {
            legend: { display: true, labels: { color: colour("soft"), usePointStyle: true, boxHeight: 6,
              filter: (item, all) => all.datasets[item.datasetIndex].data.length > 0 } },
            tooltip: { callbacks: { title: () => "", label: ({ dataset, parsed }) =>
              `${dataset.label}: ${parsed.x.toFixed(1)} % removed, ${errors ? parsed.y.toFixed(3) : `${parsed.y.toFixed(2)} %`} predicted` } },
          },
        },
      };
    });
  }

  function layersChart() {
    let kind = "macs";
    const again = draw("layers-chart", () => {
      const { layers } = data.costs, scale = kind === "macs" ? 1e-6 : 1;
      const bars = ["before", "after"].map((label, i) => ({
        label, data: layers.map((layer) => scale * layer[kind][i]), backgroundColor: colour(label), grouped: false,
        order: 1 - i, barPercentage: i ? 0.6 : 0.95, categoryPercentage: 0.95, borderRadius: 1,
      }));
      return {
        type: "bar", data: { labels: layers.map((layer) => layer.name), datasets: bars },
        options: {
          scales: {
            x: axis("layers, in the order of the network", { ticks: { display: false }, grid: { display: false } }),
            y: axis(kind === "macs" ? "million multiply-accumulates" : "milliseconds", { min: 0 }),
          },
          interaction: { mode: "index", intersect: false },
          plugins: { legend: { display: true, reverse: true, labels: { color: colour("soft"), boxHeight: 8, boxWidth: 14 } } },
        },
      };
    });
    for (const input of document.querySelectorAll("input[name=cost]")) {
      input.addEventListener("change", () => { kind = input.value; again(); });
    }
  }

  function trainingCharts() {
    const { curve, scores, best, steps } = data.training;
    const line = (points, name) => ({
      data: points.map(([x, y]) => ({ x, y })), borderColor: colour(name), backgroundColor: colour(name), borderWidth: 1.6,
    });
    const scales = (y) => ({ x: axis("step", { type: "linear", min: 0, max: steps || undefined }), y: axis("", y) });
    const digits = (value) => Number(value).toPrecision(4);
    const plugins = { tooltip: { callbacks: { title: () => "", label: ({ parsed }) => `step ${parsed.x}: ${digits(parsed.y)}` } } };
    draw("score-chart", () => ({
      type: "line",
      data: { datasets: [
        { ...line(best ? [best] : [], "mark"), pointRadius: 8, borderWidth: 2.5, backgroundColor: "transparent", showLine: false },
        { ...line(scores, "first"), pointRadius: 3.5 },
      ] },
      options: { scales: scales({ grace: "8%" }), plugins },
    }));
    draw("loss-chart", () => ({
      type: "line", data: { datasets: [{ ...line(curve, "after"), pointRadius: 0, pointHitRadius: 8 }] },
      options: { scales: scales({}), plugins },
    }));
  }

  const curves = data.plans ? data.plans.curves : [];
  const byTolerance = curves.find((curve) => curve.by === "loss_tolerance" && curve.steps.length);
  let tolerance = byTolerance ? byTolerance.steps[0].at : null;
  const largest = byTolerance ? byTolerance.steps[byTolerance.steps.length - 1].at : 1;
  const sensitivities = data.sensitivities ? sensitivityChart(() => tolerance, largest) : () => {};
  for (const curve of curves) {
    if (!curve.steps.length) continue;
    if (curve.by === "loss_tolerance") {
      panel("tolerance", curve, (value) => `${+value.toFixed(4)}`, (step) => { tolerance = step.at; sensitivities(); });
      continue;
    }
    let plan = curve.steps[0].plans[0];
    const again = targetChart(curve, () => plan);
    panel("target", curve, (value) => `${+value.toFixed(4)}`, (_, chosen) => { plan = chosen; again(); });
  }
  if (data.costs) layersChart();
  if (data.training) trainingCharts();

  const redraw = () => drawn.forEach((again) => again());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);
})();
