// Measures the report page. The value of the last expression is the type rendered of browser_test.go.
(() => {
  const box = e => {
    const r = e.getBoundingClientRect();
    return {left: r.left, top: r.top, right: r.right, bottom: r.bottom};
  };
  const outline = e => {
    const style = getComputedStyle(e);
    return style.stroke === 'none' ? 0 : parseFloat(style.strokeWidth);
  };
  const channels = color => {
    const match = color.match(/^rgba?\(([\d., ]+)\)$/);
    if (!match) throw new Error('unexpected color ' + color);
    return match[1].split(',').map(Number);
  };
  const background = e => {
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length === 3) return c;
      if (c[3] !== 0) throw new Error('a translucent background');
    }
    throw new Error('no background');
  };

  const rows = [...document.querySelectorAll('.chart li')].map(li => ({
    name: li.querySelector('bdi').textContent,
    marked: !!li.querySelector('.mark')?.checkVisibility() && li.querySelector('.mark').getBoundingClientRect().width > 5,
    row: box(li),
    track: box(li.querySelector('svg')),
    bars: [...li.querySelectorAll('rect')].map(r => ({box: box(r), outline: outline(r), title: r.querySelector('title').textContent})),
  }));

  const lines = document.querySelectorAll('.grid line');
  const ticks = [...document.querySelectorAll('.axis text')].map((label, n) => ({line: box(lines[n]), label: box(label), text: label.textContent}));

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !e.checkVisibility() || e.closest('.hidden, rect, style')) continue;
    const style = getComputedStyle(e);
    const color = channels(e.closest('svg') ? style.fill : style.color);
    texts.push({text: text.slice(0, 60), color: color.slice(0, 3), background: background(e)});
  }
  return {width: innerWidth, scrollWidth: document.documentElement.scrollWidth, rows, ticks, texts, styled: getComputedStyle(document.body).marginTop === '0px'};
})()
