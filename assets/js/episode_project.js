// Which project the Annotate tab of this browser shows, for the server to choose it.
(page) => {
  try {
    return [page, String(JSON.parse(localStorage.getItem("tracer1.annotate.view") ?? "{}").project ?? "")];
  } catch {
    return [page, ""];
  }
}
