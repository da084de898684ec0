//! A chapter whose book is right passes, and one whose book is wrong does not.

use std::{fs, path::Path};

use book::reader::{Report, type_chapter};

fn typed(page: &str) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    type_chapter("a.md", page, folder.path()).expect("a page and a shell")
}

fn block(inside: &str) -> String {
    format!("Words.\n\n```console\n{inside}\n```\n")
}

#[test]
fn what_the_book_says_happens() {
    let report = typed(&block(
        "$ name=reader\n$ echo \"hello $name\" \\\n    again\nhello reader again\n$ echo error >&2\nerror\n\
         $ printf 'a\\nb\\nc'\na\n…\nc\n$ (exit 3)\n$ echo $?\n3\n$ alias hi='echo hi'\n$ hi\nhi",
    ));
    assert_eq!(
        report,
        Report {
            good: 8,
            ..Report::default()
        }
    );
}

#[test]
fn a_wrong_output_is_shown_as_a_difference_with_its_place() {
    let report = typed(&block(
        "$ echo one\none\n$ printf '1\\n2\\n3\\n'\n1\ntwo\n3",
    ));
    assert_eq!(report.good, 1);
    assert_eq!(
        report.failure.unwrap(),
        "a.md:6: this printed something else than the book says\n\n    $ printf '1\\n2\\n3\\n'\n      1\n    - two\n    - 3\n    + 2\n    + 3\n"
    );
}

#[test]
fn a_command_that_fails_fails_its_chapter() {
    for (inside, what) in [
        ("$ false", "failed with exit status 1"),
        ("$ no-such-program-here\n…", "failed with exit status 127"),
        ("$ echo \"half a quote\n…", "failed with exit status"),
        ("$ exit 5", "the shell has ended"),
        ("$ (exit 3)\n$ echo $?\n4", "something else"),
    ] {
        let failure = typed(&block(inside)).failure.expect(inside);
        assert!(failure.contains(what), "{inside}: {failure}");
    }
}

#[test]
fn what_is_not_run_is_counted() {
    let report = typed(&format!(
        "<!-- not run: it needs a screen -->\n{}",
        &block("$ false")[8..]
    ));
    assert_eq!(report.not_run, ["a.md:2: it needs a screen"]);
    assert_eq!((report.good, report.failure), (0, None));
}

#[test]
fn a_second_terminal_goes_on_until_the_chapter_ends() {
    let beside = |inside: &str| format!("<!-- second terminal -->\n```console\n{inside}\n```\n");
    let folder = tempfile::tempdir().unwrap();
    let server = "$ echo $$ >pid; echo ready; tail -f /dev/null & wait\nready";
    let page = beside(server)
        + &block("$ kill -0 $(cat pid)")
        + &beside("^C")
        + &block("$ ! kill -0 $(cat pid)\n…");
    let report = type_chapter("a.md", &page, folder.path()).unwrap();
    assert_eq!(
        report,
        Report {
            good: 3,
            ..Report::default()
        }
    );

    let failure = typed(&beside("$ echo over\nready")).failure.unwrap();
    assert!(failure.contains("should go on, and ended"), "{failure}");
}

/// The book itself: no chapter may hide a command from the one who types it.
#[test]
fn every_chapter_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tutorial");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let page = fs::read_to_string(&path).unwrap();
        if let Err(error) = book::chapter::read(&page) {
            panic!("{}: {error}", path.display());
        }
    }
}
