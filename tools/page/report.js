'use strict';
// Draws the report from the object in #data. Every part is optional: a part that is missing is left
// out, and `notes` says why. What any run has; report_classification.js and report_detection.js add
// what a task has, report_last.js ends the page.
const D = JSON.parse(document.getElementById('data').textContent);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child != null) node.append(child);
  return node;
}
const number = (v, digits = 3) =>
  v == null ? '–' : Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(2)
  : Number.isInteger(v) ? v.toLocaleString('en') : v.toPrecision(digits);
const whole = v => v ? Math.round(v).toLocaleString('en') : '';
const percent = v => v == null ? '–' : (100 * v).toFixed(1) + ' %';
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const main = document.getElementById('main'), nav = document.getElementById('nav');
function section(id, title, ...content) {
  const parts = content.flat().filter(part => part != null);
  if (!parts.length) return null;
  const node = el('section', {id, 'aria-labelledby': id + '-title'}, el('h2', {id: id + '-title'}, title), parts);
  main.append(node);
  nav.append(el('a', {href: '#' + id}, title));
  return node;
}
function table(head, rows, attributes = {}) {
  return el('div', {class: 'wide', tabindex: '0', role: 'region', 'aria-label': attributes.label || 'table'},
    el('table', {class: attributes.class},
      el('thead', {}, el('tr', {}, head.map(text => el('th', {scope: 'col'}, text)))),
      el('tbody', {}, rows.map(cells => el('tr', {},
        cells.map((cell, i) => el(i ? 'td' : 'th', i ? {'data-label': head[i]} : {scope: 'row'}, cell)))))));
}
// A table wider than its place is set closer, and else shown row by row, each number beside its
// column's name.
function fitTables() {
  for (const box of document.querySelectorAll('.wide')) {
    const inner = box.querySelector('table');
    if (!inner || inner.classList.contains('confusion') || !box.clientWidth) continue;
    box.classList.remove('close', 'stacked');
    for (const way of ['close', 'stacked']) if (inner.offsetWidth > box.clientWidth) box.classList.add(way);
  }
}

// --- charts ---------------------------------------------------------------------------------------
const charts = [];
const series = ['#1a56a8', '#c2571a', '#1c7d4d', '#8a3fa0', '#a8261c', '#5b6b80'];
const seriesDark = ['#7db4ff', '#ffab70', '#7fd6a0', '#d6a3ea', '#ff9288', '#b4bfcc'];
const isDark = () => matchMedia('(prefers-color-scheme: dark)').matches;
function chart(title, x, lines, options = {}) {
  const canvas = el('canvas', {role: 'img', 'aria-label': title + ': ' + lines.map(line => line.label).join(', ')});
  const box = el('div', {class: 'chart'}, canvas);
  const make = () => {
    const colours = isDark() ? seriesDark : series;
    const ink = css('--soft'), grid = css('--line');
    const values = options.bars ? [] : lines.flatMap(line => line.values).filter(y => y != null);
    const least = Math.min(...values), most = Math.max(...values), pad = Math.abs(most) / 2 || 1;
    // One value alone has no range of its own, and one that runs away hides all others.
    const alone = values.length && least === most && !options.range ? {min: least - pad, max: most + pad} : {};
    const far = options.log || (values.length && least > 0 && most > 1000 * least);
    const axis = (text, extra = {}) => ({title: {display: !!text, text, color: ink}, ticks: {color: ink, maxTicksLimit: 8},
      grid: {color: grid}, ...extra});
    return new Chart(canvas, {
      type: options.bars ? 'bar' : 'line',
      data: {labels: options.bars ? x : undefined, datasets: lines.map((line, i) => ({label: line.label,
        data: options.bars ? line.values : line.values.map((y, k) => ({x: (line.x || x)[k], y})).filter(p => p.y != null),
        borderColor: line.colour ? css(line.colour) : colours[i % colours.length], backgroundColor: line.colour ? css(line.colour) : colours[i % colours.length],
        borderDash: line.dash || [], borderWidth: options.bars ? 0 : 2, pointRadius: line.values.length > 40 ? 0 : 2, tension: 0}))},
      options: {animation: false, responsive: true, maintainAspectRatio: false, ...(options.bars ? {} : {parsing: false}),
        interaction: {mode: 'nearest', axis: 'x', intersect: false},
        plugins: {title: {display: true, text: title, color: css('--ink')},
          legend: {display: lines.length > 1, labels: {color: ink, boxWidth: 14}}},
        scales: {x: axis(options.x || 'epoch', options.bars ? {stacked: true} : {type: 'linear'}),
          y: axis(options.y || '', {...(far ? {type: 'logarithmic'} : alone), ...(options.bars ? {stacked: true} : {}), ...options.range})}}});
  };
  charts.push({make, canvas});
  return box;
}
function drawCharts() {
  for (const c of charts) { if (c.drawn) c.drawn.destroy(); c.drawn = c.make(); }
}

// --- verdict --------------------------------------------------------------------------------------
const S = D.summary, T = D.training;
// How good the answers are, and what is wrong most often; then what the training's history says.
function verdict() {
  const said = [];
  const counted = (n, one, many) => `${whole(n) || 'no'} ${n === 1 ? one : many}`;
  if (D.confusion) {
    const {matrix, classes, images, split} = D.confusion;
    const right = matrix.reduce((sum, row, i) => sum + row[i], 0);
    const pairs = matrix.flatMap((row, r) => row.map((n, c) => [n, r, c])).filter(([n, r, c]) => n && r !== c).sort((a, b) => b[0] - a[0]);
    said.push(images ? `${percent(right / images)} of ${counted(images, 'image', 'images')} of ${split} are answered rightly, ${whole(images - right) || 'none'} wrongly.`
      : `There are no images in ${split}: how good the answers are is not known.`);
    if (pairs.length) said.push(`Most often ‘${classes[pairs[0][1]]}’ is taken for ‘${classes[pairs[0][2]]}’: ${counted(pairs[0][0], 'time', 'times')}.`);
  }
  if (D.detection) {
    const {errors, objects, images, split, threshold, summary} = D.detection;
    const wrong = Object.entries(errors).filter(([name]) => name !== 'right' && name !== 'missed').reduce((sum, [, n]) => sum + n, 0);
    if (summary.ap50 != null) said.push(`AP50 is ${percent(summary.ap50)} on ${counted(images, 'image', 'images')} of ${split} with ${counted(objects, 'object', 'objects')}.`);
    said.push(`Of boxes with a probability of ${threshold} or more ${whole(errors.right) || 'none'} are right and ${whole(wrong) || 'none'} wrong; ${counted(errors.missed, 'object is', 'objects are')} missed.`);
  }
  if (D.verdict) said.push(...D.verdict);
  if (!said.length) said.push('How good the answers are is not known without --data.');
  const problems = T ? T.diagnosis.filter(f => f.is_problem) : [];
  if (problems.length) said.push(`Wrong with the training: ${problems.map(f => f.kind.replaceAll('-', ' ')).join(', ')}.`);
  else if (T) said.push('Nothing is wrong with the training that its history shows.');
  return said;
}
section('summary', 'Verdict',
  el('div', {class: 'verdict'}, verdict().map(sentence => el('p', {}, sentence))),
  el('div', {class: 'cards'}, [...S.cards].sort((a, b) => /accuracy|AP|precision/.test(b.name) - /accuracy|AP|precision/.test(a.name)).map(card => el('div', {class: 'card'}, el('b', {}, card.value), el('span', {}, card.name)))));
section('notes', 'Notes and options',
  D.notes.length ? el('ul', {}, D.notes.map(note => el('li', {}, note))) : null,
  S.config ? [el('h3', {}, 'Every option of the training'), el('pre', {tabindex: '0'}, S.config)] : null);

// --- diagnosis ------------------------------------------------------------------------------------
if (T) {
  section('diagnosis', 'Diagnosis',
    T.diagnosis.length ? T.diagnosis.map(f => el('div', {class: f.is_problem ? 'finding' : 'finding mere'},
      el('b', {}, f.kind.replaceAll('-', ' ')), el('div', {}, f.evidence), el('div', {class: 'note'}, 'Try: ' + f.advice)))
    : el('p', {class: 'fine'}, 'Nothing wrong that the history shows.'));
}

// --- training -------------------------------------------------------------------------------------
if (T && (T.epochs.length || T.steps.length)) {
  const epochs = T.epochs.map(e => e.epoch), steps = T.steps.map(s => s.step);
  const parts = [];
  const validated = T.epochs.some(e => 'validation_loss' in e);
  if (epochs.length) {
    parts.push(chart('Loss', epochs, [{label: 'training', values: T.epochs.map(e => e.train_loss)}].concat(
      validated ? [{label: 'validation', values: T.epochs.map(e => e.validation_loss), dash: [5, 3]}] : [])));
    // The task's own numbers: what is a part of the loss together, the others apart.
    const terms = Object.keys(T.epochs[T.epochs.length - 1].terms || {}), spaced = name => name.replaceAll('_', ' ');
    const term = name => ({label: spaced(name), values: T.epochs.map(e => e.terms ? e.terms[name] : null)});
    const losses = terms.filter(name => name.endsWith('_loss'));
    if (losses.length) parts.push(chart('Parts of the training loss', epochs, losses.map(term)));
    for (const name of terms) if (!losses.includes(name)) parts.push(chart(spaced(name[0].toUpperCase() + name.slice(1)) + ' an image', epochs, [term(name)]));
    if (validated) parts.push(chart('Validation ' + T.score, epochs, [{label: T.score, values: T.epochs.map(e => e.validation_accuracy)}]));
    parts.push(chart('Images per second', epochs, [{label: 'images/s', values: T.epochs.map(e => e.images_per_second)}]));
  }
  if (steps.length) {
    parts.push(chart('Learning rate', steps, [{label: 'rate', values: T.steps.map(s => s.learning_rate)}], {x: 'step'}));
    parts.push(chart('Gradient norm', steps, [{label: 'norm', values: T.steps.map(s => s.gradient_norm)}], {x: 'step', log: true}));
  }
  if (T.statistics.length) {
    // First, middle and last weights: enough to see a trend by depth.
    const weights = T.parameter_names.map((name, i) => [name, i]).filter(([name]) => name.endsWith('weight') && !/(^|\.)bn|downsample\.1/.test(name));
    const pick = [...new Set([0, .25, .5, .75, 1].map(t => Math.round(t * (weights.length - 1))))].filter(i => i >= 0).map(i => weights[i]);
    const at = T.statistics.map(s => s.step);
    if (pick.length) parts.push(chart('Update : weight', at, pick.map(([label, i]) => ({label, values: T.statistics.map(s => s.update_to_weight[i])})), {x: 'step', log: true}));
  }
  if (T.pulses.length && T.pulses[0].activations.length) {
    const at = T.pulses.map(p => p.epoch);
    const share = T.pulses.map(p => { let d = 0, n = 0; for (const a of p.activations) { d += a.dead; n += a.units; } return n ? d / n : null; });
    const zero = T.pulses.map(p => p.activations.reduce((s, a) => s + a.zero, 0) / p.activations.length);
    parts.push(chart('Units of activation functions', at, [{label: 'dead', values: share}, {label: 'zero answers', values: zero, dash: [5, 3]}]));
    if (T.pulses[0].norms.length) {
      parts.push(chart('Batch norm drift (running std)', at, [{label: 'mean', values: T.pulses.map(p => Math.max(...p.norms.map(n => n.mean_shift)))}]));
    }
  }
  const rows = T.parameters.filter(p => p.weight).map(p => [p.name, number(p.gradient), number(p.weight), number(p.update_to_weight),
    number(p.gradient_to_weight), p.signal_to_noise ? number(p.signal_to_noise) : 'below noise']);
  section('training', 'Training', el('div', {class: 'charts'}, parts),
    T.gradient_noise_scale ? el('p', {class: 'note'}, `Gradient noise scale: about ${number(T.gradient_noise_scale)} images; a batch has ${T.batch_size}.`) : null,
    rows.length ? el('details', {}, el('summary', {}, 'Gradients, weights and updates by parameter'),
      table(['parameter', 'gradient', 'weight', 'update : weight', 'gradient : weight', 'signal to noise'], rows)) : null);
}
for (const t of D.tables || []) section(t.id, t.title, el('p', {class: 'note'}, t.note), table(t.head, t.rows));
if (D.suspects && D.suspects.length) {
  section('suspects', 'Training images whose label may be wrong',
    el('ul', {class: 'thumbs'}, D.suspects.map(s => el('li', {}, el('img', {src: s.picture, alt: `${s.name}, labelled ${s.label}`}),
      `${s.label}? ${s.predicted} ${percent(s.probability)}`))));
}

// --- structure ------------------------------------------------------------------------------------
if (D.structure) {
  const X = D.structure, timed = 'measured_batch' in X, all = X.totals.parameters + X.totals.frozen || 1;
  const head = ['node', 'output', 'window', 'field', 'parameters', 'share', 'MACs', 'output bytes', 'saved bytes', 'FLOPs per byte']
    .concat(timed ? ['forward ms', 'backward ms', 'kernel'] : []);
  const cells = (r, row) => [row ? r.output_shape.slice(1).join('×') : '', row ? r.window : '',
    row ? (r.receptive_field[0] < 0 ? 'all' : r.receptive_field[0]) : '', whole(r.parameters + r.frozen),
    r.parameters + r.frozen ? percent((r.parameters + r.frozen) / all) : '', whole(r.macs), whole(r.output_bytes), whole(r.saved_bytes),
    r.intensity ? r.intensity.toFixed(1) : ''].concat(timed ? [(1e3 * r.forward_seconds).toFixed(3), (1e3 * r.backward_seconds).toFixed(3), row ? r.kernel : ''] : []);
  const body = el('tbody');
  const open = [];  // modules around the next row
  let next = 0;
  const line = (name, r, row, depth, module) => {
    const first = el('th', {scope: 'row', style: `padding-left:${8 + 16 * depth}px`});
    const tr = el('tr', {class: row ? null : 'module'}, first, cells(r, row).map((text, i) => el('td', {'data-label': head[i + 1]}, String(text))));
    tr.dataset.inside = open.map(m => m.path).join('\n');
    if (module) {
      const button = el('button', {class: 'fold', 'aria-expanded': 'true', onclick: () => {
        const folded = button.getAttribute('aria-expanded') === 'true';
        button.setAttribute('aria-expanded', String(!folded));
        button.textContent = (folded ? '▸ ' : '▾ ') + name;
        refold();
      }}, '▾ ' + name);
      button.dataset.path = module.path;
      first.append(button);
    } else first.append(name);
    body.append(tr);
  };
  const refold = () => {
    const closed = [...body.querySelectorAll('button[aria-expanded=false]')].map(b => b.dataset.path);
    for (const tr of body.children) tr.hidden = tr.dataset.inside.split('\n').some(path => closed.includes(path));
  };
  const short = path => open.length ? path.slice(open[open.length - 1].path.length + 1) : path;
  X.nodes.forEach((r, i) => {
    while (open.length && !r.path.startsWith(open[open.length - 1].path + '/')) open.pop();
    for (; next < X.modules.length && X.modules[next].first === i; ++next) {
      const m = X.modules[next];
      if (m.count < 2) continue;
      line(short(m.path), m, false, open.length, m);
      open.push(m);
    }
    line(short(r.path) + (r.uses > 1 ? ` (use ${r.uses})` : ''), r, true, open.length);
  });
  open.length = 0;
  line('total', X.totals, false, 0);
  section('structure', 'Structure',
    el('p', {class: 'note'}, `For one image. MACs without biases; field: pixels of the input that one position sees; saved bytes: what a training step keeps for its backward pass.` + (timed ? ` Times of ${X.measured_batch} image${X.measured_batch > 1 ? 's' : ''}.` : '')),
    el('div', {class: 'wide', tabindex: '0', role: 'region', 'aria-label': 'structure', style: 'max-height:70vh;overflow:auto'},
      el('table', {}, el('thead', {}, el('tr', {}, head.map(text => el('th', {scope: 'col'}, text)))), body)));
  if (D.structure_svg) {
    const graph = el('div', {class: 'graph wide', tabindex: '0'});
    graph.innerHTML = D.structure_svg;
    document.getElementById('structure').append(el('details', {}, el('summary', {}, 'As a graph, coloured by multiply-adds'), graph));
  }
}

// --- parameters -----------------------------------------------------------------------------------
function bars(h) {
  const most = Math.max(1, ...h.counts), w = 120, height = 24, step = w / h.counts.length;
  const ns = 'http://www.w3.org/2000/svg', svg = document.createElementNS(ns, 'svg');
  const set = (node, attributes) => { for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v); return node; };
  set(svg, {class: 'bars', width: w, height, viewBox: `0 0 ${w} ${height}`, role: 'img',
    'aria-label': `histogram from ${number(h.low)} to ${number(h.high)}`});
  h.counts.forEach((c, i) => { const b = height * c / most;
    svg.append(set(document.createElementNS(ns, 'rect'), {x: i * step, y: height - b, width: Math.max(.5, step - .3), height: b, fill: 'currentColor'})); });
  return svg;
}
if (D.parameters) {
  const rows = D.parameters.parameters.map(p => [p.name, p.shape.join('×'), number(p.mean), number(p.std), bars(p.histogram),
    `${number(p.histogram.low)} … ${number(p.histogram.high)}`, percent(p.count ? p.zeros / p.count : 0),
    p.nans + p.infinities ? String(p.nans + p.infinities) : '', number(p.distance_from_initial), number(p.spectral_norm),
    number(p.stable_rank), number(p.effective_rank), p.alpha ? p.alpha.value.toFixed(2) : '', p.dead_channels ?? '', p.near_duplicate_channels ?? '']);
  section('parameters', 'Parameters',
    D.filters ? el('figure', {style: 'margin:0'}, el('img', {src: D.filters, alt: 'the filters of the first convolution', style: 'max-width:100%'}),
      el('figcaption', {class: 'note'}, 'The first convolution’s filters, each in its own range.')) : null,
    el('div', {}, table(['parameter', 'shape', 'mean', 'std', 'values', 'range (99.8 %)', 'zero', 'not finite', 'from W0', '‖W‖₂', 'stable rank', 'effective rank', 'α', 'dead', 'alike'], rows, {label: 'parameters'}),
      el('p', {class: 'note'}, 'from W0: distance from the initial values over their norm. α: exponent of the eigenvalues’ tail, a heuristic. alike: filters pointing the same way as an earlier one.')));
}

// --- activations ----------------------------------------------------------------------------------
if (D.activations) {
  const rows = D.activations.activations.map(a => [a.path, a.shape.join('×'), a.units, number(a.input.mean), number(a.input.std), number(a.output.std),
    percent(a.zero_fraction), a.dead, a.near_dead, a.always_on, a.saturated_fraction ? percent(a.saturated_fraction) : '', number(a.effective_rank)]);
  const curves = el('div', {class: 'curves'}, (D.curves || []).map(svg => { const d = el('div'); d.innerHTML = svg; return d; }));
  section('activations', 'Activation functions',
    el('p', {class: 'note'}, `On ${D.activation_images} images.`),
    table(['function', 'shape', 'units', 'mean in', 'std in', 'std out', 'zero', 'dead', 'near-dead', 'always on', 'saturated', 'effective rank'], rows, {label: 'activation functions'}),
    D.curves ? el('details', {}, el('summary', {}, 'Each function and its slope over what goes into it'), curves) : null,
    D.top_units ? el('details', {}, el('summary', {}, 'The images that the last feature map’s channels answer to most'),
      D.top_units.map(u => el('div', {}, el('h3', {}, 'channel ' + u.unit), el('ul', {class: 'thumbs'},
        u.images.map(i => el('li', {}, el('img', {src: i.picture, alt: i.name}), number(i.value))))))) : null);
}

// --- maps -----------------------------------------------------------------------------------------
const tables = {};
for (const [name, text] of Object.entries(D.colours || {})) {
  tables[name] = Array.from({length: 256}, (_, i) => [0, 2, 4].map(k => parseInt(text.substr(6 * i + k, 2), 16)));
}
function unpack(map) {
  const raw = atob(map.values), out = new Float32Array(map.height * map.width);
  for (let i = 0; i < out.length; ++i) {
    const q = raw.charCodeAt(2 * i) | raw.charCodeAt(2 * i + 1) << 8;
    out[i] = (q > 32767 ? q - 65536 : q) / 32767 * map.scale;
  }
  return out;
}
// Colours a map over a picture: the more a place says, the less it lets through. Returns its values.
function paint(canvas, map, opacity) {
  const values = unpack(map), colours = tables[map.colours], signed = map.colours === 'diverging';
  canvas.width = map.width; canvas.height = map.height;
  const pixels = new ImageData(map.width, map.height);
  let largest = 0, least = Infinity;
  for (const v of values) { largest = Math.max(largest, Math.abs(v)); least = Math.min(least, v); }
  for (let i = 0; i < values.length; ++i) {
    const t = largest ? (signed ? values[i] / largest : (values[i] - least) / (largest - least || 1)) : 0;
    const c = colours[Math.round(signed ? 127.5 + 127.5 * t : 255 * t)];
    pixels.data.set([c[0], c[1], c[2], 2.55 * opacity * Math.abs(t)], 4 * i);
  }
  canvas.getContext('2d').putImageData(pixels, 0, 0);
  return values;
}
// What the map says where the pointer is over `canvas`.
function readAt(event, canvas, map, values) {
  const box = canvas.getBoundingClientRect();
  const cell = (at, extent, count) => Math.min(count - 1, Math.max(0, Math.floor(at / extent * count)));
  const x = cell(event.clientX - box.left, box.width, map.width), y = cell(event.clientY - box.top, box.height, map.height);
  return `at ${x}, ${y}: ${number(values[y * map.width + x])}`;
}
const cost = map => (map.residual != null ? `residual ${number(map.residual)} of a score of ${number(map.value)}; ` : `score ${number(map.value)}; `) +
  (Math.abs(map.forward_passes - 1) < 0.005 ? '1 forward pass' : `${number(map.forward_passes)} forward passes`);
