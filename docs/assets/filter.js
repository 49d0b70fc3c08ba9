// A field above a table of `<div class="filtered">` hides the rows that lack one of its words.
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(".filtered")) {
    const field = document.createElement("input")
    field.type = "search"
    field.className = "filter"
    field.placeholder = field.ariaLabel = "Only rows with these words"
    place.prepend(field)
    const rows = [...place.querySelectorAll("tbody tr")].map((row) => [row, row.textContent.toLowerCase()])
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/)
      for (const [row, text] of rows) row.hidden = !words.every((word) => text.includes(word))
    })
  }
})
