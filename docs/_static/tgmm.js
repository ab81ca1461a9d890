// Mark the tables that scroll sideways, and let the keyboard scroll data frames, too: the theme does so for other tables.
function markTables() {
  for (const box of document.querySelectorAll(".pst-scrollable-table-container, .output_html")) {
    box.classList.toggle("scrolls", box.scrollWidth > box.clientWidth);
    if (box.matches(".output_html")) box.tabIndex = 0;
  }
}
document.addEventListener("DOMContentLoaded", markTables);
window.addEventListener("load", markTables);
window.addEventListener("resize", markTables);
