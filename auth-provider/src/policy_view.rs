//! The policy and its changes as text.

use serde::Deserialize;

/// Who may call what.
#[derive(Deserialize)]
pub struct Graph {
    pub clients: Vec<String>,
    pub resources: Vec<String>,
    pub grants: Vec<Arrow>,
}

/// A grant.
#[derive(Deserialize)]
pub struct Arrow {
    pub client_id: String,
    pub resource: String,
    pub scopes: Vec<String>,
}

/// What a policy file would change, or has changed.
#[derive(Deserialize)]
pub struct Plan {
    pub changes: Vec<serde_json::Value>,
}

pub fn matrix(graph: &Graph, _width: usize) -> String {
    graph_text(graph)
}

pub fn graph_text(graph: &Graph) -> String {
    let arrow = |arrow: &Arrow| {
        format!(
            "{} -> {} {}\n",
            arrow.client_id,
            arrow.resource,
            arrow.scopes.join(" ")
        )
    };
    graph.grants.iter().map(arrow).collect()
}

pub fn mermaid(graph: &Graph) -> String {
    graph_text(graph)
}

pub fn dot(graph: &Graph) -> String {
    graph_text(graph)
}

pub fn plan_text(plan: &Plan, _color: bool) -> String {
    plan.changes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
