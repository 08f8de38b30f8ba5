"""What is looked for on a page whatever it shows: contrast, names, landmarks, room. Each returns what is wrong."""

from itertools import pairwise

from playwright.sync_api import Page

_LOW_CONTRAST = """
() => {
  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const mix = (top, below, share) => top * share + below * (1 - share);
  const over = (top, below) => ({
    r: mix(top.r, below.r, top.a), g: mix(top.g, below.g, top.a), b: mix(top.b, below.b, top.a), a: 1,
  });
  const background = (node) => {
    const layers = [];
    for (; node; node = node.parentElement) layers.push(parse(getComputedStyle(node).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  const luminance = ({ r, g, b }) => {
    const [R, G, B] = [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const wrong = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].filter((child) => child.nodeType === 3).map((child) => child.data.trim()).join("");
    if (!text && !node.placeholder || !node.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const behind = background(node), style = getComputedStyle(node);
    const colour = over(parse(node instanceof SVGElement ? style.fill : style.color), behind);
    const [low, high] = [luminance(colour), luminance(behind)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) wrong.push(`${ratio.toFixed(2)}: ${text}`);
  }
  return wrong;
}
"""

_UNNAMED = """
() => {
  const wrong = [];
  for (const node of document.querySelectorAll("input, textarea, select")) {
    if (!node.labels.length && !node.ariaLabel) wrong.push(`no label: ${node.outerHTML}`);
  }
  for (const node of document.querySelectorAll("button, a, summary, th, h1, h2, h3, h4")) {
    if (!(node.ariaLabel ?? node.textContent).trim() && node.checkVisibility()) wrong.push(`no name: ${node.outerHTML}`);
  }
  for (const name of ["aria-labelledby", "aria-describedby", "for"]) {
    for (const node of document.querySelectorAll(`[${name}]`)) {
      if (!document.getElementById(node.getAttribute(name))) wrong.push(`leads nowhere: ${node.outerHTML}`);
    }
  }
  for (const node of document.querySelectorAll("svg, img")) {
    if (!node.getAttribute("aria-labelledby") && !node.alt) wrong.push(`no text: ${node.outerHTML}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  wrong.push(...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `twice: ${id}`));
  return wrong;
}
"""

_STRUCTURE = """
() => ({
  h1: document.querySelectorAll("h1").length, main: document.querySelectorAll("main").length,
  banner: document.querySelectorAll("body > header").length, nav: document.querySelectorAll("nav[aria-label]").length,
  lang: document.documentElement.lang,
  levels: [...document.querySelectorAll("h1, h2, h3, h4")]
    .filter((node) => node.checkVisibility()).map((node) => Number(node.tagName[1])),
})
"""


def low_contrast(page: Page) -> list[str]:
    """Texts that differ too little from what is behind them: WCAG 2.2, 1.4.3, at the stricter limit of small text."""
    return page.evaluate(_LOW_CONTRAST)


def unnamed(page: Page) -> list[str]:
    """Controls, headings and pictures without a name, and names that lead nowhere."""
    return page.evaluate(_UNNAMED)


def misbuilt(page: Page) -> list[str]:
    """Landmarks that are missing or too many, and headings that skip a level."""
    found = page.evaluate(_STRUCTURE)
    levels = found.pop("levels")
    wrong = [f"a heading of level {level} behind one of {before}" for before, level in pairwise(levels) if level > before + 1]
    return wrong + ([] if found == {"h1": 1, "main": 1, "banner": 1, "nav": 1, "lang": "en"} else [str(found)])


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")
