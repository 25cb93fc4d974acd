"use strict";
// Pointing at a chart shows the values there, and the same place in every other chart.
const steps = JSON.parse(document.getElementById("steps").dataset.steps);
const make = (parent, name) => {
  const element = document.createElement("div");
  element.className = name;
  parent.append(element);
  return element;
};
const nearest = (xs, x) => {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
};
const show = number => Math.abs(number) >= 1e4 || (number !== 0 && Math.abs(number) < 1e-3)
  ? number.toLocaleString("en", { notation: number < 1 ? "scientific" : "standard", maximumSignificantDigits: 4 })
  : String(+number.toPrecision(4));
const place = (data, x) => {
  let text = data.name + " " + Math.round(x).toLocaleString("en");
  if (data.name === "step" && steps.step.length) {
    const at = nearest(steps.step, x);
    text += " · epoch " + steps.epoch[at].toFixed(2) + " · " + show(steps.tokens[at]) + " tokens";
  }
  return text;
};
const charts = [...document.querySelectorAll(".chart")].map(figure => ({
  plot: figure.querySelector(".plot"),
  data: JSON.parse(figure.dataset.chart),
  marks: [],
}));
const clear = () => charts.forEach(chart => chart.marks.splice(0).forEach(mark => mark.remove()));
const mark = (chart, x, hovered) => {
  const { plot, data, marks } = chart;
  const [left, right] = data.x, [bottom, top] = data.y;
  const share = (x - left) / (right - left);
  // Halves: the difference of the largest numbers would overflow.
  const height = value => (value / 2 - bottom / 2) / (top / 2 - bottom / 2);
  if (share < 0 || share > 1) return;
  const line = make(plot, "cursor");
  line.style.left = 100 * share + "%";
  marks.push(line);
  const tip = hovered && make(plot, "tip");
  if (tip) {
    tip.textContent = place(data, x);
    marks.push(tip);
  }
  for (const series of data.series) {
    if (!series.x.length) continue;
    const at = nearest(series.x, x);
    const point = make(plot, "point c" + series.colour);
    point.style.left = 100 * (series.x[at] - left) / (right - left) + "%";
    point.style.top = 100 * (1 - height(series.y[at])) + "%";
    marks.push(point);
    if (!tip) continue;
    const row = make(tip, "");
    row.append(Object.assign(document.createElement("i"), { className: "c" + series.colour }), series.name);
    const value = document.createElement("b");
    const wide = series.low && series.low[at] < series.high[at];
    value.textContent = show(series.y[at]) + (wide ? " (" + show(series.low[at]) + " to " + show(series.high[at]) + ")" : "");
    row.append(value);
  }
  if (tip) {
    const room = plot.clientWidth - tip.offsetWidth;
    tip.style.left = Math.max(0, Math.min(room, share * plot.clientWidth + (share < 0.5 ? 14 : -14 - tip.offsetWidth))) + "px";
    tip.style.top = "8px";
  }
};
for (const chart of charts) {
  const move = event => {
    const box = chart.plot.getBoundingClientRect();
    const [left, right] = chart.data.x;
    const pointed = left + (right - left) * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const dense = chart.data.series.reduce((most, series) => series.x.length > most.x.length ? series : most);
    const x = dense.x.length ? dense.x[nearest(dense.x, pointed)] : pointed;
    clear();
    charts.forEach(other => mark(other, x, other === chart));
  };
  chart.plot.addEventListener("pointermove", move);
  chart.plot.addEventListener("pointerdown", move);
  chart.plot.addEventListener("pointerleave", clear);
}
