//! The graph as text: for a terminal, and for documentation as Mermaid and DOT.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    iter,
};

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr;

use crate::policy_file::Policy;

/// Who may call whom, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    pub clients: Vec<String>,
    pub resources: Vec<String>,
    pub grants: Vec<Arrow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrow {
    pub client_id: String,
    pub resource: String,
    pub scopes: Vec<String>,
}

/// What stands for a grant that has no scope.
const NO_SCOPE: &str = "(no scope)";

/// What stands between columns.
const GAP: &str = "  ";

impl From<&Policy> for Graph {
    fn from(policy: &Policy) -> Self {
        Self {
            clients: policy.clients.keys().map(ToString::to_string).collect(),
            resources: policy.resources.keys().map(ToString::to_string).collect(),
            grants: policy
                .grants
                .iter()
                .map(|((client, resource), grant)| Arrow {
                    client_id: client.to_string(),
                    resource: resource.to_string(),
                    scopes: grant.scopes.iter().map(str::to_owned).collect(),
                })
                .collect(),
        }
    }
}

/// A table of clients and resources with the scopes in its cells; the list of [`graph_text`] where it would be wider than
/// `width` columns.
pub fn matrix(graph: &Graph, width: usize) -> String {
    if graph.clients.is_empty() || graph.resources.is_empty() {
        return graph_text(graph);
    }
    let cells: BTreeMap<(&str, &str), Vec<&str>> = graph
        .grants
        .iter()
        .map(|arrow| {
            (
                (arrow.client_id.as_str(), arrow.resource.as_str()),
                words(arrow),
            )
        })
        .collect();
    let first = widest(graph.clients.iter().map(String::as_str).chain(["CLIENT"]));
    let columns: Vec<Column<'_>> = graph
        .resources
        .iter()
        .map(|resource| {
            Column::new(
                resource,
                cells
                    .iter()
                    .filter(|((_, to), _)| to == resource)
                    .map(|(_, words)| words),
            )
        })
        .collect();
    let Some(mut widths) = fit(&columns, width.saturating_sub(first)) else {
        return graph_text(graph);
    };

    let rows: Vec<Vec<Vec<String>>> = graph
        .clients
        .iter()
        .map(|client| {
            let cells = graph
                .resources
                .iter()
                .zip(&widths)
                .map(
                    |(resource, width)| match cells.get(&(client.as_str(), resource.as_str())) {
                        Some(words) => wrapped(words, *width),
                        None => vec!["-".to_owned()],
                    },
                );
            cells.collect()
        })
        .collect();
    // Words seldom fill the lines that there was room for.
    for (number, width) in widths.iter_mut().enumerate() {
        let lines = rows.iter().flat_map(|row| &row[number]);
        *width = widest(lines.map(String::as_str).chain([columns[number].name]));
    }

    let head: Vec<Vec<String>> = graph
        .resources
        .iter()
        .map(|name| vec![name.clone()])
        .collect();
    let mut lines = row_lines("CLIENT", first, &head, &widths);
    for (client, row) in graph.clients.iter().zip(&rows) {
        lines.extend(row_lines(client, first, row, &widths));
    }
    text_of(&lines)
}

struct Column<'a> {
    name: &'a str,
    /// As narrow as it can be: a word is not broken.
    narrow: usize,
    /// With each cell on one line.
    wide: usize,
}

impl<'a> Column<'a> {
    fn new<'w>(name: &'a str, cells: impl Iterator<Item = &'w Vec<&'w str>>) -> Self {
        let (mut narrow, mut wide) = (name.width(), name.width());
        for words in cells {
            narrow = narrow.max(widest(words.iter().copied()));
            wide = wide.max(words.join(" ").width());
        }
        Self { name, narrow, wide }
    }
}

/// The columns' widths: as narrow as they can be, then wider from left to right while there is room.
fn fit(columns: &[Column<'_>], room: usize) -> Option<Vec<usize>> {
    let least: usize = columns.iter().map(|column| column.narrow + GAP.len()).sum();
    let mut left = room.checked_sub(least)?;
    let widths = columns.iter().map(|column| {
        let more = left.min(column.wide - column.narrow);
        left -= more;
        column.narrow + more
    });
    Some(widths.collect())
}

/// Words on as few lines as they need.
fn wrapped(words: &[&str], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push((*word).to_owned()),
        }
    }
    lines
}

/// A row's lines: as many as its highest cell has.
fn row_lines(name: &str, first: usize, cells: &[Vec<String>], widths: &[usize]) -> Vec<String> {
    let height = cells.iter().map(Vec::len).max().unwrap_or(1);
    let line = |number: usize| {
        let name = if number == 0 { name } else { "" };
        let cells = cells.iter().zip(widths).map(|(cell, width)| {
            let text = cell.get(number).map_or("", String::as_str);
            padded(text, *width)
        });
        let parts: Vec<String> = iter::once(padded(name, first)).chain(cells).collect();
        parts.join(GAP).trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

/// The graph as a list: each client, and what it may call.
pub fn graph_text(graph: &Graph) -> String {
    let mut by_client: BTreeMap<&str, Vec<&Arrow>> = BTreeMap::new();
    for arrow in &graph.grants {
        by_client.entry(&arrow.client_id).or_default().push(arrow);
    }
    let called: BTreeSet<&str> = graph
        .grants
        .iter()
        .map(|arrow| arrow.resource.as_str())
        .collect();
    let alone: Vec<&str> = graph
        .resources
        .iter()
        .map(String::as_str)
        .filter(|resource| !called.contains(resource))
        .collect();

    let mut lines = Vec::new();
    for client in &graph.clients {
        lines.push(client.clone());
        let arrows = by_client
            .get(client.as_str())
            .map_or(&[][..], Vec::as_slice);
        if arrows.is_empty() {
            lines.push("  may not call anything".to_owned());
        }
        let width = widest(arrows.iter().map(|arrow| arrow.resource.as_str()));
        for arrow in arrows {
            let resource = padded(&arrow.resource, width);
            lines.push(format!("  -> {resource}  {}", words(arrow).join(" ")));
        }
    }
    if graph.clients.is_empty() {
        lines.push("There is no client.".to_owned());
    }
    if graph.resources.is_empty() {
        lines.push("There is no resource.".to_owned());
    }
    if !alone.is_empty() {
        lines.push(format!("Nobody may call {}.", alone.join(", ")));
    }
    text_of(&lines)
}

/// The graph as a Mermaid flowchart. A node's id follows from its name, so that a picture under version control changes
/// where the graph does.
pub fn mermaid(graph: &Graph) -> String {
    let mut lines = vec!["flowchart LR".to_owned()];
    for client in &graph.clients {
        lines.push(format!(
            "    {}[\"{}\"]",
            node("c", client),
            mermaid_text(client)
        ));
    }
    for resource in &graph.resources {
        lines.push(format!(
            "    {}([\"{}\"])",
            node("r", resource),
            mermaid_text(resource)
        ));
    }
    for arrow in &graph.grants {
        let label = mermaid_text(&words(arrow).join(" "));
        let (from, to) = (node("c", &arrow.client_id), node("r", &arrow.resource));
        lines.push(format!("    {from} -->|\"{label}\"| {to}"));
    }
    text_of(&lines)
}

/// The graph in Graphviz' language.
pub fn dot(graph: &Graph) -> String {
    let mut lines = vec!["digraph policy {".to_owned(), "    rankdir=LR;".to_owned()];
    for (kind, shape, names) in [
        ("c", "box", &graph.clients),
        ("r", "ellipse", &graph.resources),
    ] {
        for name in names {
            let (id, label) = (node(kind, name), dot_text(name));
            lines.push(format!("    {id} [label=\"{label}\", shape={shape}];"));
        }
    }
    for arrow in &graph.grants {
        let label = dot_text(&words(arrow).join(" "));
        let (from, to) = (node("c", &arrow.client_id), node("r", &arrow.resource));
        lines.push(format!("    {from} -> {to} [label=\"{label}\"];"));
    }
    lines.push("}".to_owned());
    text_of(&lines)
}

/// An identifier that Mermaid and Graphviz take as it is, another for each name.
fn node(kind: &str, name: &str) -> String {
    name.bytes().fold(format!("{kind}_"), |mut id, byte| {
        if byte.is_ascii_alphanumeric() {
            id.push(char::from(byte));
        } else {
            write!(id, "_{byte:02x}").expect("writing to a String does not fail");
        }
        id
    })
}

/// For a label in quotes: whatever might mean something to Mermaid or to HTML stands as a character reference.
fn mermaid_text(text: &str) -> String {
    text.chars().fold(String::new(), |mut label, c| {
        if c.is_ascii_alphanumeric() || " .:/_-".contains(c) {
            label.push(c);
        } else {
            write!(label, "#{};", u32::from(c)).expect("writing to a String does not fail");
        }
        label
    })
}

/// For a string in quotes. Graphviz reads HTML's character references in it.
fn dot_text(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('&', "&amp;")
}

fn words(arrow: &Arrow) -> Vec<&str> {
    if arrow.scopes.is_empty() {
        vec![NO_SCOPE]
    } else {
        arrow.scopes.iter().map(String::as_str).collect()
    }
}

/// Each line with its end.
pub(crate) fn text_of(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

pub(crate) fn widest<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts
        .into_iter()
        .map(UnicodeWidthStr::width)
        .max()
        .unwrap_or(0)
}

pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(clients: &[&str], resources: &[&str], grants: &[(&str, &str, &str)]) -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Graph {
            clients: owned(clients),
            resources: owned(resources),
            grants: grants
                .iter()
                .map(|(client, resource, scopes)| Arrow {
                    client_id: (*client).to_owned(),
                    resource: (*resource).to_owned(),
                    scopes: scopes.split_terminator(' ').map(str::to_owned).collect(),
                })
                .collect(),
        }
    }

    fn demo() -> Graph {
        graph(
            &["assistant", "notes"],
            &["calendar-service", "https://n.example/[1]"],
            &[
                (
                    "assistant",
                    "calendar-service",
                    "calendar.read calendar.write",
                ),
                ("assistant", "https://n.example/[1]", ""),
            ],
        )
    }

    #[test]
    fn the_matrix_takes_the_room_that_there_is() {
        assert_eq!(
            matrix(&demo(), 80),
            "CLIENT     calendar-service              https://n.example/[1]\n\
             assistant  calendar.read calendar.write  (no scope)\n\
             notes      -                             -\n"
        );
        assert_eq!(
            matrix(&demo(), 60),
            "CLIENT     calendar-service  https://n.example/[1]\n\
             assistant  calendar.read     (no scope)\n           calendar.write\n\
             notes      -                 -\n"
        );
        assert_eq!(matrix(&demo(), 40), graph_text(&demo()));
        for width in 0..100 {
            let table = matrix(&demo(), width);
            assert!(
                table == graph_text(&demo()) || table.lines().all(|line| line.width() <= width),
                "{width}:\n{table}"
            );
        }
    }

    #[test]
    fn wide_characters_keep_the_columns_straight() {
        let wide = graph(
            &["日本", "m"],
            &["a", "b"],
            &[("日本", "a", "é"), ("m", "b", "x")],
        );
        assert_eq!(
            matrix(&wide, 80),
            "CLIENT  a  b\n日本    é  -\nm       -  x\n"
        );
    }

    #[test]
    fn the_list_says_also_who_is_left_out() {
        assert_eq!(
            graph_text(&graph(&["m1", "m2"], &["m1", "m3"], &[("m1", "m1", "b a")])),
            "m1\n  -> m1  b a\nm2\n  may not call anything\nNobody may call m3.\n"
        );
        assert_eq!(
            matrix(&graph(&[], &[], &[]), 80),
            "There is no client.\nThere is no resource.\n"
        );
    }

    #[test]
    fn pictures_take_any_name() {
        assert_eq!(
            mermaid(&demo()),
            "flowchart LR\n    c_assistant[\"assistant\"]\n    c_notes[\"notes\"]\n    \
             r_calendar_2dservice([\"calendar-service\"])\n    \
             r_https_3a_2f_2fn_2eexample_2f_5b1_5d([\"https://n.example/#91;1#93;\"])\n    \
             c_assistant -->|\"calendar.read calendar.write\"| r_calendar_2dservice\n    \
             c_assistant -->|\"#40;no scope#41;\"| r_https_3a_2f_2fn_2eexample_2f_5b1_5d\n"
        );
        assert_eq!(
            dot(&graph(&["a"], &["b&amp;\"\\"], &[("a", "b&amp;\"\\", "x")])),
            "digraph policy {\n    rankdir=LR;\n    c_a [label=\"a\", shape=box];\n    \
             r_b_26amp_3b_22_5c [label=\"b&amp;amp;\\\"\\\\\", shape=ellipse];\n    \
             c_a -> r_b_26amp_3b_22_5c [label=\"x\"];\n}\n"
        );
        assert_ne!(node("c", "a_2d"), node("c", "a-"));
    }
}
