// The theme lets the keyboard scroll wide code and wide tables; this adds the data frames that tutorials show.
document.addEventListener("DOMContentLoaded", () => {
  for (const frame of document.querySelectorAll(".output_html")) frame.tabIndex = 0;
});
