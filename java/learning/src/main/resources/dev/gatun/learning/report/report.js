for (const figure of document.querySelectorAll('figure[data-points]')) {
  const points = JSON.parse(figure.dataset.points);
  const svg = figure.querySelector('svg'), cross = svg.querySelector('.cross'), tip = figure.querySelector('.tip');
  const box = svg.viewBox.baseVal;
  svg.addEventListener('pointermove', event => {
    const frame = svg.getBoundingClientRect(), scale = frame.width / box.width;
    const x = (event.clientX - frame.left) / scale;
    let best = points[0];
    for (const point of points) if (Math.abs(point[0] - x) < Math.abs(best[0] - x)) best = point;
    cross.setAttribute('x1', best[0]); cross.setAttribute('x2', best[0]); cross.style.visibility = 'visible';
    tip.textContent = best[1];
    tip.style.visibility = 'visible';
    tip.style.left = Math.min(best[0] * scale + 8, frame.width - tip.offsetWidth) + 'px';
    tip.style.top = (svg.offsetTop + 6) + 'px';
  });
  svg.addEventListener('pointerleave', () => { cross.style.visibility = tip.style.visibility = 'hidden'; });
}
for (const button of document.querySelectorAll('.legend button')) {
  button.addEventListener('click', () => {
    button.classList.toggle('off');
    document.querySelectorAll('g.' + button.dataset.group).forEach(group => group.classList.toggle('hidden'));
  });
}
