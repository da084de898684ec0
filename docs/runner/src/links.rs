//! Where links lead: each relative link of a page names a file that is there, and a heading in it.
//!
//! Links to other places on the network are not followed.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Component, Path, PathBuf},
};

/// What came of following all links.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Links that lead somewhere.
    pub good: usize,
    /// Links that do not, as `FILE:LINE: why`.
    pub lost: Vec<String>,
}

/// Follows the links of all pages below `docs/`, and of those at the top and beside the programs.
///
/// # Errors
/// When a page cannot be read.
pub fn follow(root: &Path) -> io::Result<Report> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.join(".git").exists() && !path.ends_with("target") && !path.ends_with(".git") {
                find(&path, &mut pages)?;
            }
        } else if is_page(&path) {
            pages.push(path);
        }
    }
    pages.sort();
    let mut headings = HashMap::new();
    let mut report = Report::default();
    for page in &pages {
        let text = fs::read_to_string(page)?;
        for (line, target) in links(&text) {
            match lost(root, page, target, &mut headings) {
                None => report.good += 1,
                Some(why) => {
                    let name = page.strip_prefix(root).unwrap_or(page).display();
                    report.lost.push(format!("{name}:{line}: {target}: {why}"));
                }
            }
        }
    }
    Ok(report)
}

fn find(folder: &Path, pages: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && !path.ends_with("target") && !path.ends_with("node_modules")
        {
            find(&path, pages)?;
        } else if is_page(&path) {
            pages.push(path);
        }
    }
    Ok(())
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "md")
}

/// The targets of `[text](target)` outside of code, and of includes, with their lines. A link may go on in the next line.
fn links(page: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (line, text) in (1..).zip(page.lines()) {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        // Code that mdBook takes from a file, with lines after a colon.
        if let Some(included) = text.strip_prefix("{{#include ") {
            found.push((line, included.split([':', '}']).next().unwrap_or_default()));
        }
        if fenced {
            continue;
        }
        // Odd pieces stand between backticks.
        let mut at = 0;
        let mut code = false;
        for piece in text.split('`') {
            let whole = &text[at..];
            if !code {
                for (start, _) in piece.match_indices("](") {
                    // The text of the link may be code, its target is not.
                    if let Some((target, _)) = whole[start + 2..].split_once(')') {
                        found.push((line, target));
                    }
                }
            }
            at = (at + piece.len() + 1).min(text.len());
            code = !code;
        }
    }
    found
}

fn lost(
    root: &Path,
    page: &Path,
    target: &str,
    headings: &mut HashMap<PathBuf, HashSet<String>>,
) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target
        .split_once('#')
        .map_or((target, None), |(f, a)| (f, Some(a)));
    let path = if file.is_empty() {
        page.to_owned()
    } else {
        plain(&page.parent().unwrap_or(root).join(file))
    };
    if !path.starts_with(root) || !path.exists() {
        return Some("there is no such file");
    }
    let anchor = anchor.filter(|_| is_page(&path))?;
    if !headings.contains_key(&path) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        headings.insert(path.clone(), anchors(&text));
    }
    (!headings[&path].contains(anchor)).then_some("there is no such heading")
}

/// A path without `..`, by its letters.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// The names under which the headings of a page can be linked to, as mdBook and code hosts make them.
fn anchors(page: &str) -> HashSet<String> {
    let mut all = HashSet::new();
    let mut fenced = false;
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let name: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect();
        let mut numbered = name.clone();
        let mut number = 0;
        while !all.insert(numbered) {
            number += 1;
            numbered = format!("{name}-{number}");
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_of_code() {
        let page = "a [b](c.md) and [`d`](e.md#f)\n```text\n[g](h)\n```\n`[i](j)` [k](l)\n";
        assert_eq!(links(page), [(1, "c.md"), (1, "e.md#f"), (5, "l")]);
    }

    #[test]
    fn an_include_is_a_link_too() {
        let page = "```rust\n{{#include ../a.rs:3:}}\n```\n```toml\n{{#include b.toml}}\n```\n";
        assert_eq!(links(page), [(2, "../a.rs"), (5, "b.toml")]);
    }

    #[test]
    fn headings_are_linked_to_by_their_letters() {
        let page = "# One idea\n## `aud`: for whom?\n```\n# no heading\n```\n## One idea\n#hash\n";
        let names = ["one-idea", "aud-for-whom", "one-idea-1"].map(str::to_owned);
        assert_eq!(anchors(page), HashSet::from(names));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_told() {
        let root = tempfile::tempdir().unwrap();
        let docs = root.path().join("docs");
        fs::create_dir(&docs).unwrap();
        fs::write(
            root.path().join("README.md"),
            "# Top\n[a](docs/a.md#there)\n",
        )
        .unwrap();
        let page = "## There\n[up](../README.md#top) [no](b.md)\n[no](#nowhere) [far](https://x.example)\n";
        fs::write(docs.join("a.md"), page).unwrap();
        let report = follow(root.path()).unwrap();
        assert_eq!(report.good, 3);
        assert_eq!(
            report.lost,
            [
                "docs/a.md:2: b.md: there is no such file",
                "docs/a.md:3: #nowhere: there is no such heading"
            ]
        );
    }
}
