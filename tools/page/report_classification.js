// --- confusion ------------------------------------------------------------------------------------
if (D.confusion) {
  const C = D.confusion, shown = el('div', {'aria-live': 'polite'});
  const most = Math.max(1, ...C.matrix.flat());
  const show = (r, c) => {
    const cell = C.cells[r + ',' + c] || [];
    shown.replaceChildren(el('h3', {}, `${C.classes[r]} taken for ${C.classes[c]}: ${C.matrix[r][c]}`),
      el('ul', {class: 'thumbs'}, cell.map(i => el('li', {}, el('img', {src: i.picture, alt: i.name}), percent(i.probability)))),
      cell.length < C.matrix[r][c] ? el('p', {class: 'note'}, `${cell.length} of them are shown.`) : '');
  };
  const button = (r, c) => {
    const count = C.matrix[r][c], strength = Math.round(70 * Math.sqrt(count / most));
    return el('button', {onclick: () => show(r, c), 'aria-label': `${C.classes[r]} taken for ${C.classes[c]}: ${count}`,
      style: `background:color-mix(in srgb, ${r === c ? 'var(--good)' : 'var(--bad)'} ${strength}%, var(--paper))`}, String(count));
  };
  const head = names => el('thead', {}, el('tr', {}, names.map(name => name === '' ? el('td') : el('th', {scope: 'col'}, name))));
  const table = C.many
    ? el('table', {class: 'confusion'}, head(['true class', 'taken for', 'images']),
      el('tbody', {}, C.pairs.map(([r, c]) => el('tr', {}, el('th', {scope: 'row'}, C.classes[r]), el('th', {scope: 'row'}, C.classes[c]), el('td', {}, button(r, c))))))
    : el('table', {class: 'confusion'}, head(['', ...C.classes]),
      el('tbody', {}, C.matrix.map((row, r) => el('tr', {}, el('th', {scope: 'row'}, C.classes[r]), row.map((count, c) => el('td', {}, button(r, c)))))));
  const note = C.many ? (C.pairs.length ? `the ${C.pairs.length} pairs of ${C.classes.length} classes that are confused most` : 'no class is taken for another')
    : 'a row is a true class, a column what it was taken for';
  section('confusion', 'Confusion', el('p', {class: 'note'}, `${C.images} images of ${C.split}; ${note}. Press a number to see its images.`),
    el('div', {class: 'wide', tabindex: '0'}, table), shown);
}

// --- explanations ---------------------------------------------------------------------------------
if (D.images && D.images.length) {
  const panes = {};
  const pane = (name, imageIndex, methodIndex) => {
    const choose = (label, options) => {
      const select = el('select', {'aria-label': `${label} (${name})`}, options.map(([value, text]) => el('option', {value}, text)));
      return [select, [el('span', {}, label), select]];
    };
    const methodsOf = image => [...new Set(image.maps.map(m => m.method))];
    const [imageSelect, imageRow] = choose('Image', D.images.map((image, i) => [i, `${image.group}: ${image.name} (${image.label} → ${image.predicted})`]));
    const [methodSelect, methodRow] = choose('Method', methodsOf(D.images[0]).map(m => [m, m]));
    const [classSelect, classRow] = choose('Class', []);
    const opacity = el('input', {type: 'range', min: 0, max: 100, value: 75, 'aria-label': `Opacity (${name})`});
    const picture = el('img'), canvas = el('canvas', {role: 'img'}), reading = el('div', {class: 'reading', 'aria-live': 'off'});
    const facts = el('div', {class: 'note'});
    let current = null, values = null;
    const draw = () => {
      const image = D.images[imageSelect.value];
      current = image.maps.find(m => m.method === methodSelect.value && m.target === classSelect.value) || image.maps.find(m => m.method === methodSelect.value);
      picture.src = image.picture;
      picture.alt = `${image.name}, labelled ${image.label}`;
      if (!current) return;
      values = paint(canvas, current, opacity.value);
      canvas.setAttribute('aria-label', `${current.method} for ${current.target}`);
      facts.textContent = `${current.target}: ${percent(image.probabilities[current.target])}; ${cost(current)}`;
    };
    const refill = () => {
      const image = D.images[imageSelect.value], method = methodSelect.value, before = classSelect.value;
      const targets = image.maps.filter(m => m.method === method).map(m => m.target);
      classSelect.replaceChildren(...targets.map(t => el('option', {value: t}, `${t} (${percent(image.probabilities[t])})`)));
      if (targets.includes(before)) classSelect.value = before;
      draw();
    };
    imageSelect.value = imageIndex;
    methodSelect.selectedIndex = Math.min(methodIndex, methodSelect.options.length - 1);
    for (const select of [imageSelect, methodSelect]) select.addEventListener('change', refill);
    classSelect.addEventListener('change', draw);
    opacity.addEventListener('input', draw);
    canvas.addEventListener('pointermove', event => {
      if (current) reading.textContent = readAt(event, canvas, current, values);
    });
    refill();
    panes[name] = i => { imageSelect.value = i; refill(); };
    return el('div', {class: 'pane', 'data-pane': name}, el('div', {class: 'stage'}, picture, canvas), reading,
      el('div', {class: 'controls'}, imageRow, methodRow, classRow, [el('span', {}, 'Opacity'), opacity]), facts);
  };
  const strip = right => el('ul', {class: 'thumbs'}, D.images.map((image, i) => [image, i]).filter(([image]) => (image.label === image.predicted) === right)
    .map(([image, i]) => el('li', {}, el('button', {class: 'pick', onclick: () => { panes.left(i); panes.right(i); shown.scrollIntoView({block: 'nearest'}); }},
      el('img', {src: image.picture, alt: image.name}), el('span', {}, right ? image.label : `${image.label}, taken for ${image.predicted}`), image.predicted in image.probabilities ? ` ${percent(image.probabilities[image.predicted])}` : ''))));
  const wrong = D.images.some(image => image.label !== image.predicted), right = D.images.some(image => image.label === image.predicted);
  const shown = el('div', {class: 'panes'}, pane('left', 0, 0), pane('right', 0, 1));
  section('predictions', wrong ? 'Wrong pictures and why' : 'Pictures and why',
    wrong ? [el('p', {class: 'note'}, 'Wrong answers, the largest margins over the truth first. Press a picture to see what spoke for the answer.'), strip(false)] : null,
    right ? [el('h3', {}, wrong ? 'Beside them, right ones' : 'The least and the most sure'), strip(true)] : null,
    el('p', {class: 'note'}, 'Two panes, to compare images, methods or classes; point at a picture to read the map’s value.'), shown);
}
