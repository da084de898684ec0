//! `book tutorial` types the tutorial, `book links` follows the links, `book reference` has the programs write the reference:
//! see `scripts/tutorial`, `scripts/docs` and `scripts/reference`.

use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, bail};
use book::{
    links,
    reader::type_chapter,
    reference,
    workshop::{Apart, Workshop},
};

const USAGE: &str = "\
Usage: book tutorial [--chapter N]...   type the commands of the tutorial, or of some chapters
       book links                       follow the links of all pages
       book reference [--check]         write the reference, or say where it is not what the programs say
in the project's folder";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let good = match arguments.as_slice() {
        ["tutorial", chapters @ ..] => tutorial(chapters),
        // What `tutorial` starts for each chapter.
        ["chapter", name, page] => chapter(name, Path::new(page)),
        ["links"] => follow_links(),
        ["reference"] => write_reference(false),
        ["reference", "--check"] => write_reference(true),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("book: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn tutorial(arguments: &[&str]) -> anyhow::Result<bool> {
    let mut wanted = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match (*argument, arguments.next()) {
            ("--chapter", Some(number)) => wanted.push(number.parse::<u32>().context(USAGE)?),
            _ => bail!(USAGE),
        }
    }
    let root = env::current_dir()?;
    let chapters = chapters(&root.join("docs/tutorial"), &wanted)?;
    let this = env::current_exe()?;
    let programs = this.parent().context("this program is in a folder")?;
    let apart = Apart::found();
    if apart == Apart::No {
        say("This system has no namespaces for us: the chapters use the demo's ports.\n");
    }
    let mut failed = 0;
    for page in &chapters {
        let begun = Instant::now();
        let workshop = Workshop::new(&root, programs)?;
        let name = page
            .strip_prefix(&root)
            .unwrap_or(page)
            .display()
            .to_string();
        let page = page.to_str().context("a path in UTF-8")?;
        let status = workshop
            .command(apart, &this, &["chapter", &name, page])
            .status();
        if apart == Apart::No {
            workshop.stop_demo();
        }
        if !status.context("cannot start a chapter")?.success() {
            failed += 1;
        }
        say(&format!(" ({:.0} s)\n", begun.elapsed().as_secs_f32()));
    }
    say(&format!(
        "\nchapters: {} passed, {failed} failed\n",
        chapters.len() - failed
    ));
    Ok(failed == 0)
}

/// The pages of the tutorial in order, or those with these numbers.
fn chapters(folder: &Path, wanted: &[u32]) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = name
            .split('-')
            .next()
            .and_then(|number| number.parse().ok());
        if let Some(number) = number
            && name.ends_with(".md")
            && (wanted.is_empty() || wanted.contains(&number))
        {
            pages.push((number, folder.join(&*name)));
        }
    }
    pages.sort();
    if pages.is_empty() || (!wanted.is_empty() && pages.len() < wanted.len()) {
        bail!("there is no such chapter in {}", folder.display());
    }
    Ok(pages.into_iter().map(|(_, page)| page).collect())
}

fn chapter(name: &str, page: &Path) -> anyhow::Result<bool> {
    let text = fs::read_to_string(page).with_context(|| name.to_owned())?;
    let report = type_chapter(name, &text, &env::current_dir()?)?;
    for block in &report.not_run {
        say(&format!("  not run  {block}\n"));
    }
    match &report.failure {
        None => say(&format!("  passed   {name}: {} commands", report.good)),
        Some(failure) => say(&format!(
            "  FAILED   {failure}\n  after {} good commands",
            report.good
        )),
    }
    Ok(report.failure.is_none())
}

fn follow_links() -> anyhow::Result<bool> {
    let report = links::follow(&env::current_dir()?)?;
    for lost in &report.lost {
        say(&format!("{lost}\n"));
    }
    say(&format!(
        "links: {} good, {} lost\n",
        report.good,
        report.lost.len()
    ));
    Ok(report.lost.is_empty())
}

fn write_reference(only_check: bool) -> anyhow::Result<bool> {
    let root = env::current_dir()?;
    let this = env::current_exe()?;
    let programs = this.parent().context("this program is in a folder")?;
    let mut stale = 0;
    for (name, text) in reference::pages(&root, programs)? {
        let file = root.join("docs/reference").join(name);
        if fs::read_to_string(&file).is_ok_and(|written| written == text) {
            continue;
        }
        stale += 1;
        if only_check {
            say(&format!(
                "docs/reference/{name} is not what the programs say\n"
            ));
        } else {
            fs::write(&file, text).with_context(|| file.display().to_string())?;
            say(&format!("docs/reference/{name} was written\n"));
        }
    }
    if only_check && stale > 0 {
        say("write them anew with scripts/reference\n");
    }
    Ok(!only_check || stale == 0)
}

fn say(text: &str) {
    // Nobody is there to read it.
    let _ = io::stdout().write_all(text.as_bytes());
}
