"use strict";
// Searches and filters the samples; without it they are all shown.
const section = document.getElementById("samples");
const samples = [...section.querySelectorAll(".sample")];
const texts = samples.map(sample => sample.textContent.toLowerCase());
const [tools, choice, search, told, more] =
  [".tools", "select", "input", ".tools span", "button"].map(name => section.querySelector(name));
const page = 8;
let limit = page;
const paint = words => {
  if (!window.Highlight || !CSS.highlights) return;
  const ranges = [];
  for (const sample of words ? samples.filter(sample => !sample.hidden) : []) {
    const walker = document.createTreeWalker(sample, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const text = node.data.toLowerCase();
      // Where lower case has another length the places would be wrong.
      if (text.length !== node.data.length) continue;
      for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + words.length);
        ranges.push(range);
      }
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
};
const update = () => {
  const words = search.value.trim().toLowerCase();
  let found = 0;
  samples.forEach((sample, at) => {
    const fits = (!choice.value || sample.dataset.source === choice.value) && texts[at].includes(words);
    found += fits;
    sample.hidden = !fits || found > limit;
  });
  told.textContent = found === samples.length ? "" : found + " of " + samples.length;
  more.hidden = found <= limit;
  more.textContent = "Show " + Math.min(page, found - limit) + " more of " + (found - limit);
  paint(words);
};
const again = () => {
  limit = page;
  update();
};
// With all sources shown, each of them has its turn.
const turns = {};
const place = new Map(samples.map(sample => {
  const source = sample.dataset.source;
  turns[source] = (turns[source] ?? 0) + 1;
  return [sample, turns[source]];
}));
const order = samples.map((sample, at) => [sample, texts[at]]).sort((a, b) => place.get(a[0]) - place.get(b[0]));
order.forEach(([sample, text], at) => {
  samples[at] = sample;
  texts[at] = text;
  more.before(sample);
});
choice.addEventListener("change", again);
search.addEventListener("input", again);
more.addEventListener("click", () => {
  limit += page;
  update();
});
tools.hidden = false;
update();
