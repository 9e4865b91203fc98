// --- detection ------------------------------------------------------------------------------------
const kindOf = box => box.outcome === 'right' || box.outcome === 'missed' ? box.outcome : 'wrong';
if (D.detection) {
  const X = D.detection, at = `with a probability of ${X.threshold} or more`;
  const names = {ap: 'AP', ap50: 'AP50', ap75: 'AP75', ap_small: 'AP, small', ap_medium: 'AP, medium', ap_large: 'AP, large',
    ar_1: 'AR, 1 box', ar_10: 'AR, 10 boxes', ar_100: 'AR, 100 boxes', ar_small: 'AR, small', ar_medium: 'AR, medium', ar_large: 'AR, large'};
  const share = (a, b) => b ? percent(a / b) : '–';
  const rows = X.classes.map(c => [c.name, whole(c.objects), percent(c.ap), percent(c.ap50), percent(c.ap75), whole(c.boxes),
    share(c.right, c.boxes), share(c.right, c.objects)]);
  const recall = Array.from({length: 101}, (_, i) => i / 100);
  const shown = [...X.classes].filter(c => c.precision50.length).sort((a, b) => b.objects - a.objects).slice(0, 12);
  const curves = shown.map(c => chart(c.name, recall, [{label: 'IoU 0.5', values: c.precision50}, {label: 'IoU 0.75', values: c.precision75, dash: [5, 3]}],
    {x: 'recall', y: 'precision', range: {min: 0, max: 1}}));
  const meaning = {
    right: 'IoU of 0.5 with an object of its class that no surer box has', duplicate: 'on an object that a surer box has',
    localisation: 'on an object of its class, with an IoU below 0.5', classification: 'on an object of another class',
    both: 'another class, and an IoU below 0.5', background: 'IoU below 0.1 with every object', missed: 'objects that none of these lies on'};
  const signed = v => (v < -0.05 ? '−' : v < 0.05 ? '' : '+') + Math.abs(v).toFixed(1);
  const most = Math.max(1, ...Object.values(X.errors));
  const errors = Object.entries(meaning).map(([name, what]) => [name, whole(X.errors[name]) || '0',
    el('div', {class: 'bar ' + kindOf({outcome: name}), style: `width:${(100 * X.errors[name] / most).toFixed(1)}%`}),
    name in X.error_costs ? signed(100 * X.error_costs[name]) : '', what]);
  const bins = X.histogram.right.map((_, i) => i).slice(1), bin = list => bins.map(i => list[i]);
  section('detection', 'Detection',
    el('p', {class: 'note'}, `${whole(X.images)} images of ${X.split} with ${whole(X.objects)} objects. Average precision and recall by COCO’s rules; small: below 32×32 pixels, large: above 96×96.`),
    el('div', {class: 'cards'}, Object.entries(names).filter(([key]) => X.summary[key] != null).map(([key, name]) =>
      el('div', {class: 'card'}, el('b', {}, percent(X.summary[key])), el('span', {}, name)))),
    el('h3', {}, 'By class'),
    table(['class', 'objects', 'AP', 'AP50', 'AP75', 'boxes', 'precision', 'recall'], rows, {label: 'by class'}),
    el('p', {class: 'note'}, `Boxes: ${at}; precision and recall are theirs, at an IoU of 0.5.`),
    el('h3', {}, 'Precision over recall'), el('div', {class: 'charts'}, curves),
    el('p', {class: 'note'}, 'Precision is the highest at this recall or above, as it enters AP.' +
      (shown.length < X.classes.length ? ` The ${shown.length} classes with most objects are drawn.` : '')),
    el('h3', {}, 'What the boxes are'), table(['boxes', 'number', '', 'AP50 without', ''], errors, {label: 'kinds of errors', class: 'errors'}),
    el('p', {class: 'note'}, `Counted of boxes ${at}. Objects on which a box lies that is badly placed or of another class do not count as missed here. ` +
      'AP50 without: how many points higher AP50 would be if all errors of that kind were put right or taken away, those of less sure boxes too (TIDE); these do not add up.'),
    el('div', {style: 'max-width:720px'}, chart('Boxes by probability', bins.map(i => (i / 20).toFixed(2)),
      [{label: 'right', values: bin(X.histogram.right), colour: '--good'}, {label: 'wrong', values: bin(X.histogram.wrong), colour: '--bad'}],
      {x: 'probability', bars: true})));
}

// --- boxes and why --------------------------------------------------------------------------------
// Boxes over a picture of width x height: large ones first, so that small ones can be pressed.
function boxesOver(picture, pick) {
  const ns = 'http://www.w3.org/2000/svg';
  const make = (tag, attributes, ...children) => {
    const node = document.createElementNS(ns, tag);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    node.append(...children);
    return node;
  };
  const rect = (box, name) => make('rect', {x: box[0], y: box[1], width: box[2], height: box[3], class: name});
  // Twice, dark below: to be seen on any picture.
  const both = box => [rect(box, 'under'), rect(box, 'line')];
  const svg = make('svg', {viewBox: `0 0 ${picture.width} ${picture.height}`, class: 'boxes', 'aria-hidden': 'true'});
  for (const o of picture.objects) if (!o.missed) svg.append(make('g', {class: 'object'}, ...both(o.box)));
  const groups = picture.boxes.map(box => make('g', {class: kindOf(box)}, ...both(box.box)));
  picture.boxes.map((box, i) => [box.box[2] * box.box[3], i]).sort((a, b) => b[0] - a[0]).forEach(([, i]) => {
    if (pick) groups[i].addEventListener('click', () => pick(i, true));
    svg.append(groups[i]);
  });
  return {svg, groups};
}
if (D.detection && D.detection.pictures.length) {
  const P = D.detection.pictures;
  const count = (n, what) => `${n} ${what}`;
  const tally = p => [count(p.right, 'right'), count(p.wrong, 'wrong'), count(p.missed, 'missed')].join(', ');
  const methods = [...new Set(P.flatMap(p => p.boxes.flatMap(b => b.maps.map(m => m.method))))];
  const select = el('select', {'aria-label': 'Method'}, methods.map(m => el('option', {value: m}, m)));
  const opacity = el('input', {type: 'range', min: 0, max: 100, value: 75, 'aria-label': 'Opacity of the map'});
  const marks = el('input', {type: 'checkbox', checked: true, 'aria-label': 'Show the boxes'});
  const image = el('img'), canvas = el('canvas', {role: 'img'}), stage = el('div', {class: 'stage large'}, image, canvas);
  const reading = el('div', {class: 'reading', 'aria-live': 'off'}), why = el('p', {class: 'why', 'aria-live': 'polite'}), facts = el('div', {class: 'note'});
  const title = el('h3'), list = el('div', {class: 'list'});
  let picture = P[0], chosen = -1, drawn = null, rows = [], current = null, values = null;
  const draw = () => {
    const box = picture.boxes[chosen];
    current = box ? box.maps.find(m => m.method === select.value) || box.maps[0] : null;
    canvas.hidden = !current;
    drawn.svg.style.display = marks.checked ? '' : 'none';
    drawn.groups.forEach((g, i) => g.classList.toggle('picked', i === chosen));
    rows.forEach((row, i) => { row.classList.toggle('picked', i === chosen); row.querySelector('button').setAttribute('aria-pressed', String(i === chosen)); });
    why.textContent = box ? `${box.class}, ${box.outcome}: ${box.why}.` : 'The detector lists no box here, and there is nothing to find.';
    reading.textContent = '';
    if (!current) { facts.textContent = box ? 'This one is not explained: report --boxes N explains more of them.' : ''; return; }
    values = paint(canvas, current, opacity.value);
    canvas.setAttribute('aria-label', `${current.method} of the ${box.outcome} ${box.class}`);
    facts.textContent = cost(current);
  };
  const pick = (i, inPicture) => {
    chosen = i;
    draw();
    if (inPicture === true) list.scrollTop = rows[i].offsetTop - list.clientHeight / 2;
  };
  const show = p => {
    picture = p;
    image.src = p.picture;
    image.alt = `${p.name}: ${tally(p)}`;
    title.textContent = `${p.name}: ${tally(p)}, F1 ${p.f1.toFixed(2)}`;
    if (drawn) drawn.svg.remove();
    drawn = boxesOver(p, pick);
    stage.append(drawn.svg);
    const body = el('tbody', {}, p.boxes.map((b, i) => el('tr', {},
      el('th', {scope: 'row'}, el('button', {class: 'row', onclick: () => pick(i)}, el('span', {class: 'swatch ' + kindOf(b)}), b.outcome)),
      el('td', {}, b.class), el('td', {}, b.score.toFixed(2)), el('td', {}, b.maps.length ? '✓' : ''))));
    rows = [...body.children];
    list.replaceChildren(el('table', {}, el('thead', {}, el('tr', {}, ['box', 'class', 'probability', 'map'].map(h => el('th', {scope: 'col'}, h)))), body));
    tiles.forEach((tile, i) => tile.setAttribute('aria-pressed', String(P[i] === p)));
    pick(Math.max(0, p.boxes.findIndex(b => b.maps.length)));
  };
  const tiles = P.map(p => el('button', {class: 'tile', onclick: () => { show(p); viewer.scrollIntoView({block: 'nearest'}); }},
    el('div', {class: 'stage'}, el('img', {src: p.picture, alt: p.name}), boxesOver(p).svg),
    el('span', {}, `F1 ${p.f1.toFixed(2)}: ${tally(p)}`)));
  const gallery = group => {
    const mine = tiles.filter((_, i) => P[i].group === group);
    return mine.length ? [el('h3', {}, group === 'worst' ? 'The worst' : 'The best'), el('div', {class: 'gallery'}, mine)] : [];
  };
  const viewer = el('div', {class: 'viewer'},
    el('div', {}, title, stage, reading, methods.length ? el('div', {class: 'controls'}, [el('span', {}, 'Method'), select, el('span', {}, 'Opacity'), opacity,
      el('span', {}, 'Boxes'), el('label', {}, marks, ' shown')]) : null),
    el('div', {}, why, facts, list));
  select.addEventListener('change', draw);
  opacity.addEventListener('input', draw);
  marks.addEventListener('change', draw);
  stage.addEventListener('pointermove', event => { if (current) reading.textContent = readAt(event, canvas, current, values); });
  const legend = [['right', 'right'], ['wrong', 'wrong'], ['missed', 'missed object'], ['object', 'annotated, and found']];
  section('boxes', 'Boxes and why',
    el('p', {class: 'note'}, `The pictures with the lowest and the highest F1, 2 right / (2 right + wrong + missed): right boxes have an IoU of 0.5 with an object of their class that no surer box has, missed objects have no such box; boxes ${`with a probability of ${D.detection.threshold} or more`}. ` +
      'Pictures are as the model sees them. Press a picture, then a box or its row, to see what speaks for it; of a missed object, the cell whose box fits it best is explained.'),
    el('p', {class: 'legend'}, legend.map(([name, text]) => el('span', {}, el('span', {class: 'swatch ' + name}), text))),
    gallery('worst'), gallery('best'), viewer);
  show(P[0]);
}
