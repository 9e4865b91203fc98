// --- quality --------------------------------------------------------------------------------------
if (D.quality) {
  const metrics = D.quality.metrics.filter(m => D.quality.methods.some(r => r.mean[m.name] != null));
  section('quality', 'Quality of the explanations',
    el('p', {class: 'note'}, `Means over ${D.quality.over}. The controls know nothing of the model: a method that scores like them says nothing about it.`),
    table(['method', ...metrics.map(m => m.name + (m.better > 0 ? ' ↑' : m.better < 0 ? ' ↓' : ''))],
      D.quality.methods.map(r => [r.method, ...metrics.map(m => number(r.mean[m.name]))]), {label: 'quality of explanations'}),
    el('details', {}, el('summary', {}, 'What the columns are'), el('ul', {}, metrics.map(m => el('li', {}, el('b', {}, m.name), ': ' + m.what)))));
}

// --- evolution ------------------------------------------------------------------------------------
if (D.evolution && D.evolution.length) {
  const select = el('select', {'aria-label': 'Watched image and method'}, D.evolution.map((e, i) => el('option', {value: i}, `${e.image}: ${e.method}`)));
  const slider = el('input', {type: 'range', min: 0, value: 0, 'aria-label': 'Epoch'}), picture = el('img', {style: 'width:100%;max-width:420px;display:block;border-radius:6px'});
  const says = el('div', {class: 'note', 'aria-live': 'polite'});
  const draw = () => {
    const e = D.evolution[select.value], f = e.frames[slider.value];
    picture.src = f.picture;
    picture.alt = `${e.method} of ${e.image} after epoch ${f.epoch}`;
    says.textContent = `epoch ${f.epoch}: ${e.target} ${percent(f.probability)}, taken for ${f.predicted}`;
  };
  const refill = () => { slider.max = D.evolution[select.value].frames.length - 1; slider.value = slider.max; draw(); };
  select.addEventListener('change', refill);
  slider.addEventListener('input', draw);
  section('evolution', 'When it learned where to look', picture, says,
    el('div', {class: 'controls'}, el('span', {}, 'Image'), select, el('span', {}, 'Epoch'), slider));
  refill();
}

// --- order ----------------------------------------------------------------------------------------
// As a reader asks: what it is worth and what is wrong, which pictures and why, how it came about;
// what it is made of is folded away.
const folded = ['activations', 'structure', 'parameters', 'notes'];
const order = ['summary', 'diagnosis', 'predictions', 'boxes', 'confusion', 'labels', 'detection', 'suspects', 'quality', 'training', 'evolution', ...folded];
nav.replaceChildren();
for (const id of order) {
  const node = document.getElementById(id);
  if (!node) continue;
  main.append(node);
  const [title, ...content] = node.children;
  nav.append(el('a', {href: '#' + id}, title.textContent));
  if (folded.includes(id)) node.append(el('details', {}, el('summary', {}, title), content));
}
function unfold() {
  const node = location.hash && document.getElementById(location.hash.slice(1));
  const details = node && node.querySelector(':scope > details');
  if (details) details.open = true;
}
addEventListener('hashchange', unfold);
addEventListener('toggle', fitTables, true);
addEventListener('resize', fitTables);
unfold();

fitTables();
drawCharts();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawCharts);
document.documentElement.dataset.ready = 'yes';
