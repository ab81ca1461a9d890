// Pictures of many panels keep a readable size on a phone, where they scroll. This many pixels show an inch of a picture.
const READABLE = 68;
const WIDE = 7; // inches
function sizePictures() {
  for (const picture of document.querySelectorAll("img.plot-directive, img.sphx-glr-single-img")) {
    const inches = picture.naturalWidth / (picture.matches(".plot-directive") ? 144 : 100);
    if (inches < WIDE || picture.closest(".picture")) continue;
    const box = document.createElement("div");
    box.className = "picture";
    box.tabIndex = 0;
    picture.replaceWith(box);
    box.append(picture);
    picture.style.minWidth = `${READABLE * inches}px`;
  }
}

// Mark what scrolls sideways, and let the keyboard scroll data frames, too: the theme does so for other tables.
function markScrolling() {
  sizePictures();
  for (const box of document.querySelectorAll(".pst-scrollable-table-container, .output_html, .picture")) {
    box.classList.toggle("scrolls", box.scrollWidth > box.clientWidth);
    if (box.matches(".output_html")) box.tabIndex = 0;
  }
}
document.addEventListener("DOMContentLoaded", markScrolling);
window.addEventListener("load", markScrolling);
window.addEventListener("resize", markScrolling);

// The theme's buttons that open a part of the list of pages have no text of their own.
function nameButtons() {
  for (const button of document.querySelectorAll("li.has-children > details > summary")) {
    const page = button.closest("li").querySelector("a");
    if (page) button.setAttribute("aria-label", `Pages of ${page.textContent.trim()}`);
  }
}
document.addEventListener("DOMContentLoaded", nameButtons);
