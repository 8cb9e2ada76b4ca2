// WCAG contrast of every text with what lies behind it as rendered, and of the marks' colours with the page.
() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = text => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = '#000'; canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(k => top[k] * top[3] + below[k] * (1 - top[3])).concat(1);
  const light = c => {
    const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = one => {
    const chain = [];
    for (let at = one; at; at = at.parentElement) chain.unshift(rgba(getComputedStyle(at).backgroundColor));
    return chain.reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const faint = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, one = node.parentElement, style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    if (!node.textContent.trim() || style.visibility === 'hidden' || !box.width || one.closest('style')) continue;
    texts += 1;
    let back = behind(one), front = rgba(style.color);
    const svg = one.closest('svg');
    if (svg) {
      front = rgba(style.fill);
      const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
      for (const mark of svg.querySelectorAll('.mark-rect path, .mark-area path, .mark-symbol path')) {
        const b = mark.getBoundingClientRect(), s = getComputedStyle(mark);
        if (s.fill === 'none' || x < b.left || x > b.right || y < b.top || y > b.bottom) continue;
        const c = rgba(s.fill);
        back = over([c[0], c[1], c[2], c[3] * parseFloat(s.fillOpacity) * parseFloat(s.opacity)], back);
      }
    }
    const value = contrast(over(front, back), back);
    if (value < 4.5) faint.push([value.toFixed(2), node.textContent.trim().slice(0, 60), one.className.baseVal ?? one.className]);
  }
  const root = getComputedStyle(document.documentElement), page = behind(document.body);
  const marks = [0, 1, 2, 3, 4, 5, 6].map(n => contrast(rgba(root.getPropertyValue(`--mark-${n}`)), page));
  return { texts, faint, marks };
}
