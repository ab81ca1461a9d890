"""The site in a browser: pages without errors, links that lead somewhere, a search that finds, code that copies."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from bs4 import BeautifulSoup
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

SITE = Path(__file__).resolve().parents[2] / "build" / "docs"
PAGES = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html") if "_static" not in page.parts)
DESKTOP, PHONE = 1280, 390

SETTLED = """
const done = arguments[arguments.length - 1];
const maths = window.MathJax?.startup?.promise ?? Promise.resolve();
maths.then(() => document.fonts.ready).then(() => requestAnimationFrame(() => done(true)));
"""
BROKEN_IMAGES = "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
RESOURCES = "return performance.getEntriesByType('resource').map(entry => entry.name)"
# What the page cuts off at its right edge: elements that stick out, unless something around them scrolls.
CUT_OFF = """
const article = e => e.matches(".bd-article-container");  // the whole page may scroll no more than its text
const scrolls = e => !article(e) && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
const width = document.documentElement.clientWidth;
return [...document.querySelectorAll(".bd-article *:not(mjx-assistive-mml, mjx-assistive-mml *)")]
    .filter(e => e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement))
    .map(e => e.outerHTML.slice(0, 120));
"""
WIDER_THAN_THE_SCREEN = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
# Rules of axe-core, https://dequeuniversity.com/rules/axe: contrast, alternative texts, order of headings, keyboard ...
VIOLATIONS = """
const done = arguments[arguments.length - 1];
const still = document.createElement("style");  // colours that are still changing have no contrast of their own
still.textContent = "* {transition: none !important; animation: none !important}";
document.head.append(still);
const rules = {"empty-table-header": {enabled: false}};  // pandas leaves the head of its index empty
axe.run(document, {rules}).then(result => done(result.violations.map(
    rule => [rule.id, rule.help, ...rule.nodes.map(node => node.html.slice(0, 120))])));
"""


def show(browser, address, page, width=DESKTOP):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(f"{address}/{page}")
    browser.execute_async_script(SETTLED)


@cache
def parsed(page):
    return BeautifulSoup((SITE / page).read_text("utf-8"), "html.parser")


@cache
def anchors(page):
    return {element["id"] for element in parsed(page).find_all(id=True)}


def internal_links(page):
    for tag, attribute in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
        for element in parsed(page).find_all(tag, attrs={attribute: True}):
            if not urlsplit(element[attribute]).scheme:
                yield element[attribute]


def target(page, link):
    """The file that a link leads to, and the anchor in it."""
    path, fragment = urldefrag(link)
    path = unquote(urlsplit(path).path)
    return ((SITE / page).parent / path).resolve() if path else SITE / page, fragment


def test_the_site_is_built():
    assert {"index.html", "quickstart.html", "search.html", "reference/gaussian_mixture.html"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_internal_links_lead_somewhere(page):
    for link in internal_links(page):
        file, fragment = target(page, link)
        assert file.is_file(), link
        if fragment and file.suffix == ".html":
            assert unquote(fragment) in anchors(str(file.relative_to(SITE))), link


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_without_errors_and_by_itself(browser, address, page):
    browser.get_log("browser")
    show(browser, address, page)
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert [resource for resource in browser.execute_script(RESOURCES) if not resource.startswith(address)] == []
    assert browser.execute_script(BROKEN_IMAGES) == []
    assert browser.find_elements(By.CSS_SELECTOR, "mjx-merror") == []
    if parsed(page).find(class_="math"):
        assert browser.find_elements(By.CSS_SELECTOR, "mjx-container")


@pytest.mark.parametrize("page", PAGES)
def test_page_fits_a_phone(browser, address, page):
    show(browser, address, page, PHONE)
    assert not browser.execute_script(WIDER_THAN_THE_SCREEN)
    assert browser.execute_script(CUT_OFF) == []


@pytest.fixture(scope="session")
def axe():
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_page_is_accessible(browser, address, axe, page, colours):
    preference = [{"name": "prefers-color-scheme", "value": colours}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preference})
    show(browser, address, page)
    browser.execute_script(axe)
    assert browser.execute_async_script(VIOLATIONS) == []


@pytest.mark.parametrize("page", ["index.html", "quickstart.html", "reference/gaussian_mixture.html"])
def test_the_keyboard_reaches_the_content(browser, address, page):
    show(browser, address, page)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB, Keys.ENTER)  # the link that skips the navigation
    assert urldefrag(browser.current_url).fragment == "main-content"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    reached = "return document.activeElement.closest('#main-content, .bd-sidebar-primary') !== null"
    assert browser.execute_script(reached)


def test_search_finds_the_estimator(browser, address):
    show(browser, address, "search.html?q=GaussianMixture")
    wait = WebDriverWait(browser, 20)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "#search-results li a"))
    found = [link.get_attribute("href") for link in browser.find_elements(By.CSS_SELECTOR, "#search-results li a")]
    assert any("reference/gaussian_mixture.html" in link for link in found)


@pytest.mark.parametrize("page", ["quickstart.html", "reference/gaussian_mixture.html"])
def test_code_is_copied_without_prompts(browser, address, page):
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.execute_cdp_cmd("Browser.grantPermissions", {"origin": address, "permissions": permissions})
    show(browser, address, page)
    block = browser.find_element(By.CSS_SELECTOR, "div.highlight")
    prompted = [re.match(r"(?:>>> |\.\.\. |\$ )(.*)", line) for line in block.text.splitlines()]
    expected = [match[1] for match in prompted if match]
    button = block.find_element(By.CSS_SELECTOR, "button.copybtn")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", block)
    button.click()
    WebDriverWait(browser, 10).until(lambda _: "success" in button.get_attribute("class"))
    copied = browser.execute_async_script("navigator.clipboard.readText().then(arguments[arguments.length - 1])")
    assert expected
    assert copied.splitlines() == expected


@pytest.mark.parametrize("page", [page for page in PAGES if parsed(page).select("div.highlight pre")])
def test_every_code_block_has_a_copy_button(browser, address, page):
    show(browser, address, page)
    blocks = browser.find_elements(By.CSS_SELECTOR, "div.highlight:has(pre)")
    buttons = browser.find_elements(By.CSS_SELECTOR, "div.highlight button.copybtn")
    assert len(blocks) == len(buttons) > 0
