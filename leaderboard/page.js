"use strict";
(() => {
  // Texts of strangers are only ever set as textContent; nothing here builds HTML from strings.
  const data = JSON.parse(document.getElementById("data").textContent);
  const collator = new Intl.Collator("en", { numeric: true });
  const unknown = "–";

  function make(tag, options = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) {
      if (name === "text") node.textContent = value;
      else if (name === "class") node.className = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function number(value, digits) {
    return value === null || value === undefined ? unknown : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
  }
  function signed(value, digits) {
    const text = number(value, digits);
    return value > 0 && Number(text) > 0 ? `+${text}` : text.replace("-", "−");
  }
  function plain(value, digits) { return number(value, digits).replace("-", "−"); }
  function dollars(value) {
    return value === null || value === undefined ? unknown : value.toPrecision(3);
  }
  function interval(parts, show) {
    return parts[1] === null || parts[1] === undefined ? "" : `[${show(parts[1])}, ${show(parts[2])}]`;
  }
  const figure = (row, name) => row.figures[name] || [null, null, null];

  function estimate(name, show) {
    return (row) => {
      const parts = figure(row, name);
      return [show(parts[0]), make("div", { class: "range", text: interval(parts, show) })];
    };
  }

  // The interval of the reward as a bar on the board's common scale; the numbers say the same.
  function bar(parts, scale) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("class", "bar");
    svg.setAttribute("viewBox", "0 0 100 8");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const at = (value) => 2 + 96 * (value - scale.low) / (scale.high - scale.low || 1);
    const draw = (name, x, y, width, height) => {
      const rect = document.createElementNS(space, "rect");
      const values = { class: name, x, y, width, height };
      for (const key of Object.keys(values)) rect.setAttribute(key, String(values[key]));
      svg.append(rect);
    };
    if (parts[1] !== null) draw("span", at(parts[1]), 1, Math.max(1, at(parts[2]) - at(parts[1])), 6);
    if (parts[0] !== null) draw("dot", at(parts[0]) - 1, 0, 2, 8);
    return svg;
  }

  // value: what is sorted by; smaller: whether the best value is the smallest.
  const columns = [
    { key: "rank", label: "Rank", smaller: true, value: (row) => (row.rank ? row.rank[0] : null),
      cells: (row) => {
        if (row.kind === "control") return ["control"];
        if (!row.rank) return [row.standing];
        const [rank, low, high] = row.rank;
        const range = low === high ? `[${low}]` : `[${low}–${high}]`;
        return [String(rank), make("div", { class: "range", text: range })];
      } },
    { key: "name", label: "Router", smaller: true, text: true, value: (row) => row.name },
    { key: "reward", label: "Reward", value: (row) => figure(row, "reward")[0],
      cells: (row, board) => [...estimate("reward", (x) => plain(x, 4))(row),
        bar(figure(row, "reward"), board.scale)] },
    { key: "normalised", label: "Normalised", value: (row) => figure(row, "oracle_normalised_reward")[0],
      cells: estimate("oracle_normalised_reward", (x) => plain(x, 3)) },
    { key: "gain", label: "Gain", value: (row) => figure(row, "gain")[0],
      cells: estimate("gain", (x) => signed(x, 4)) },
    { key: "accuracy", label: "Accuracy", value: (row) => figure(row, "accuracy")[0],
      cells: estimate("accuracy", (x) => plain(x, 3)) },
    { key: "shuffled", label: "Shuffled", value: (row) => figure(row, "shuffled_gain")[0],
      cells: estimate("shuffled_gain", (x) => signed(x, 4)) },
    { key: "cost", label: "USD a query", smaller: true, value: (row) => figure(row, "cost_usd")[0],
      cells: (row) => [dollars(figure(row, "cost_usd")[0])] },
    { key: "check", label: "Check", smaller: true, text: true, value: (row) => row.check || "",
      cells: (row) => [make("span", { class: row.check || "", text: row.check || unknown })] },
  ];

  function safeLink(address) {
    try {
      const url = new URL(address);
      if (url.protocol === "https:" && !url.username && !url.password) return url.href;
    } catch { /* no address: shown as text */ }
    return null;
  }

  function details(row, span) {
    const list = make("dl");
    const add = (term, value) => {
      if (value === null || value === undefined || value === "") return;
      const entry = make("dd");
      entry.append(value);
      list.append(make("dt", { text: term }), entry);
    };
    add("Description", row.description);
    if (row.url) {
      const href = safeLink(row.url);
      add("Address", href === null ? row.url
        : make("a", { href, rel: "noopener noreferrer nofollow ugc", text: row.url }));
    }
    add("Code and weights", row.openness);
    add("Training data", row.training_data || "not stated");
    add("Hardware", row.hardware || "not stated");
    add("Prices of", row.price_date || "not stated");
    add("Seeds", String(row.seeds));
    add("Performance", plain(figure(row, "performance")[0], 3));
    add("Regret", plain(figure(row, "regret")[0], 4));
    add("Charged choices", `${number(100 * figure(row, "charged")[0], 2)} %`);
    add("Invalid choices", row.invalid === undefined ? "" : String(row.invalid));
    add("p of shuffled users", row.p_value === undefined ? "" : number(row.p_value, 3));
    for (const item of row.differences || []) {
      add(`Reported ${item.figure}`, make("span", { class: "bad",
        text: `${item.reported}, but it comes out as ${item.reproduced === null ? "unknown" : item.reproduced}` }));
    }
    add("Committed", row.committed_at);
    if (row.commitments > 1) add("Commitments under this name", String(row.commitments));
    add("Commitment", row.commitment);
    add("SHA-256 of the choices", (row.choices_sha256 || []).join("\n"));
    return make("td", { colspan: String(span) }, list);
  }

  function nameCell(row, detail) {
    const cell = make("th", { scope: "row", class: "name" }, make("bdi", { text: row.name }));
    if (row.kind === "control") return cell;
    cell.append(make("span", { class: "openness", text: row.openness }));
    const button = make("button", { type: "button", class: "more", "aria-expanded": "false",
      "aria-controls": detail.id, "aria-label": `Details of ${row.name}`, text: "Details" });
    button.addEventListener("click", () => {
      // Filled when it is first asked for: a long board is ready sooner.
      if (!detail.firstChild) detail.append(details(row, columns.length));
      detail.hidden = !detail.hidden;
      button.setAttribute("aria-expanded", String(!detail.hidden));
    });
    cell.append(button);
    return cell;
  }

  // Below this the bootstrap's intervals are not known to cover what they say.
  const enough = { users: 100, queries: 48 };
  const held = { "new-user": "users", "new-llm": "LLMs", "cross-task": "tasks" };
  const words = (name) => name.replaceAll("_", " ");

  function title(board) {
    const { strategy, setting, feedback, tier } = board.track;
    return `${board.data}: ${words(strategy)}, ${setting}, feedback ${feedback}, tier ${tier}`;
  }

  function facts(board) {
    const parts = [`${board.users} users × ${board.queries} test queries × ${board.llms} LLMs`,
      `population ${board.population}`];
    const track = board.track;
    if (track.interactions_per_user !== null) parts.push(`${track.interactions_per_user} interactions a user`);
    if (board.held_out) parts.push(`${board.held_out} ${held[track.setting] || ""} held out`);
    if (track.shots !== null) parts.push(`${track.shots} shots`);
    if (board.headroom !== null) parts.push(`personalisation headroom ${number(100 * board.headroom, 1)} %`);
    if (board.sealed) parts.push("sealed: the outcomes are not public yet");
    else parts.push(board.opened ? `opened ${board.opened.slice(0, 10)}`
      : "open test: the outcomes were public from the start");
    return parts.join(" · ");
  }

  function compareBy(column, down) {
    return (a, b) => {
      const [x, y] = [column.value(a.row), column.value(b.row)];
      if (x === null || y === null) return (x === null) - (y === null) || a.order - b.order;
      const order = column.text ? collator.compare(x, y) : x - y;
      return (down ? -order : order) || a.order - b.order;
    };
  }

  function buildBoard(board, number_) {
    const values = board.rows.flatMap((row) => figure(row, "reward")).filter((x) => typeof x === "number");
    board.scale = { low: Math.min(...values), high: Math.max(...values) };
    const body = make("tbody");
    const heads = new Map();
    const lines = board.rows.map((row, order) => {
      const detail = row.kind === "control" ? null
        : make("tr", { class: "detail", id: `detail-${number_}-${order}`, hidden: "" });
      const line = make("tr", { class: row.kind });
      for (const column of columns) {
        if (column.key === "name") line.append(nameCell(row, detail));
        else line.append(make("td", { class: column.text ? "words" : "" }, ...column.cells(row, board)));
      }
      const search = [row.name, row.description, row.training_data, row.hardware].join(" ").toLowerCase();
      return { row, order, line, detail, search };
    });
    const sorted = { key: null, down: false };
    function sort(column, down) {
      sorted.key = column.key;
      sorted.down = down;
      for (const [key, head] of heads) {
        if (key === column.key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      }
      lines.sort(compareBy(column, down));
      body.append(...lines.flatMap(({ line, detail }) => (detail ? [line, detail] : [line])));
    }
    const header = make("tr");
    for (const column of columns) {
      const button = make("button", { type: "button", text: column.label });
      const head = make("th", { scope: "col", class: column.text ? "words" : "" }, button);
      button.addEventListener("click", () => {
        const down = sorted.key === column.key ? !sorted.down : !column.smaller;
        sort(column, down);
      });
      heads.set(column.key, head);
      header.append(head);
    }
    sort(columns[2], true);
    const heading = make("h2", { id: `title-${number_}`, text: title(board) });
    heading.append(" ", make("span", { class: `badge ${board.provenance}`, text: `${board.provenance} responses` }));
    const scroll = make("div", { class: "scroll", role: "region", tabindex: "0",
      "aria-label": `Figures of ${title(board)}` }, make("table", { "aria-labelledby": heading.id }, make("thead", {}, header), body));
    const section = make("section", { class: "board", id: board.id, "aria-labelledby": heading.id },
      heading, make("p", { class: "facts", text: facts(board) }));
    if (board.users < enough.users || board.queries < enough.queries) {
      section.append(make("p", { class: "warning", text: `Few users or queries: with less than ${enough.users} `
        + `users and ${enough.queries} queries an interval may be too narrow.` }));
    }
    section.append(scroll);
    return { board, section, lines };
  }

  const boards = data.boards.map(buildBoard);
  const place = document.getElementById("boards");
  place.append(...boards.map((entry) => entry.section));

  const filters = [
    { key: "provenance", label: "Provenance", of: (board) => board.provenance },
    { key: "data", label: "Data set", of: (board) => board.data },
    { key: "strategy", label: "Strategy", of: (board) => board.track.strategy },
    { key: "setting", label: "Setting", of: (board) => board.track.setting },
    { key: "feedback", label: "Feedback", of: (board) => board.track.feedback },
    { key: "tier", label: "Disclosure tier", of: (board) => board.track.tier },
    { key: "population", label: "Population", of: (board) => board.population },
    { key: "openness", label: "Code and weights", ofRow: (row) => row.openness },
  ];
  const form = document.getElementById("filters");
  function labelled(text, control) {
    control.id = `filter-${control.name}`;
    return make("div", { class: "field" }, make("label", { for: control.id, text }), control);
  }
  for (const filter of filters) {
    const all = filter.of ? data.boards.map(filter.of)
      : data.boards.flatMap((board) => board.rows.filter((row) => row.kind !== "control").map(filter.ofRow));
    filter.select = make("select", { name: filter.key, autocomplete: "off" }, make("option", { value: "", text: "all" }));
    [...new Set(all)].sort(collator.compare).forEach((value, index) => {
      filter.select.append(make("option", { value: `v${index}`, text: words(value) }));
      filter.select.lastChild.dataset.value = value;
    });
    form.append(labelled(filter.label, filter.select));
  }
  const search = make("input", { type: "search", name: "search", autocomplete: "off" });
  form.append(labelled("Search", search), make("button", { type: "reset", text: "Show all" }));

  function apply() {
    const wanted = filters.map((filter) => filter.select.selectedOptions[0].dataset.value);
    const needle = search.value.trim().toLowerCase();
    let shown = 0, total = 0, open = 0;
    for (const { board, section, lines } of boards) {
      const fits = filters.every((f, i) => !f.of || wanted[i] === undefined || f.of(board) === wanted[i]);
      let here = 0;
      for (const { row, line, detail, search: text } of lines) {
        if (row.kind === "control") continue;
        total += 1;
        const keep = fits && text.includes(needle)
          && filters.every((f, i) => !f.ofRow || wanted[i] === undefined || f.ofRow(row) === wanted[i]);
        line.hidden = !keep;
        if (!keep && detail) {
          detail.hidden = true;
          line.querySelector(".more").setAttribute("aria-expanded", "false");
        }
        here += keep;
      }
      section.hidden = !here;
      shown += here;
      open += here > 0;
    }
    document.getElementById("status").textContent =
      `${shown} of ${total} submissions on ${open} ${open === 1 ? "board" : "boards"}`;
  }
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault(); // the values would change only after this event
    for (const filter of filters) filter.select.selectedIndex = 0;
    search.value = "";
    apply();
  });
  apply();

  const rejected = document.getElementById("rejected");
  for (const entry of data.rejected) {
    rejected.querySelector("ul").append(make("li", {}, make("bdi", { text: entry.folder }), `: ${entry.reason}`));
  }
  rejected.hidden = data.rejected.length === 0;
  document.documentElement.dataset.ready = "yes";
})();
