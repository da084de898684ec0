//! The laboratory: experiments with the running system. Each asks what will happen, does it with real
//! requests, and explains the answer.
//!
//! An [`Experiment`] is data and a function. The function works at a [`Workbench`], which makes each
//! request in the open and writes it down, and says which of the answers to the experiment's
//! question was the right one *here and now*. Whether that is the one that the explanation speaks of
//! is decided in one place, [`Report::is_as_explained`]: a calendar that accepts the wrong audience
//! makes the lab say so.

mod changes;
mod forged;
mod forgery;
mod meant;
mod report;
mod revoked;
mod workbench;

use std::pin::Pin;

pub use report::{Report, Step, list_json, list_text};
pub use workbench::{Note, Setting, Stop, Workbench};

use crate::failure::Failure;

/// Something to try.
pub struct Experiment {
    /// As it is typed, and as the book names it.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// What is going to be done, and what to think about before it is.
    pub question: &'static str,
    /// Possible answers; two to four.
    pub answers: &'static [&'static str],
    /// The place of the right one among them.
    pub right: usize,
    /// Why it is the right one.
    pub explanation: &'static str,
    /// Where that is written.
    pub sources: &'static [&'static str],
    /// What it means when another answer turns out to be true.
    pub otherwise: &'static str,
    run: for<'a> fn(&'a mut Workbench) -> Running<'a>,
}

/// An experiment under way.
type Running<'a> = Pin<Box<dyn Future<Output = Result<Finding, Failure>> + Send + 'a>>;

/// How an experiment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// The place of the answer that came true; `None` when none did.
    answer: Option<usize>,
    /// What happened, in a sentence without a full stop.
    what: String,
}

impl Finding {
    fn new(answer: Option<usize>, what: impl Into<String>) -> Self {
        Self {
            answer,
            what: what.into(),
        }
    }
}

/// All experiments, in the order in which they are best tried.
pub const EXPERIMENTS: &[Experiment] = &[
    meant::WRONG_AUDIENCE,
    meant::MISSING_SCOPE,
    meant::EXPIRED_TOKEN,
    forged::TAMPERED_CLAIM,
    forged::ALG_NONE,
    forged::UNKNOWN_KEY,
    revoked::LOCAL,
    revoked::FEED,
    revoked::INTROSPECTION,
    changes::SECRET_ROTATION,
    changes::POLICY_CHANGE,
];

/// The names of all experiments.
pub fn names() -> Vec<&'static str> {
    EXPERIMENTS.iter().map(|e| e.name).collect()
}

/// The experiment with this name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    EXPERIMENTS.iter().find(|e| e.name == name)
}

/// The letter by which an answer is chosen.
pub fn letter(answer: usize) -> char {
    u8::try_from(answer).map_or('?', |nth| char::from(b'a'.saturating_add(nth)))
}

/// Carries an experiment out. What it makes at the provider it takes away again, however it ends.
///
/// # Errors
/// When it could not be carried out: a server does not answer, or it was stopped.
pub async fn run(experiment: &'static Experiment, mut bench: Workbench) -> Result<Report, Failure> {
    let found = (experiment.run)(&mut bench).await;
    let tidied = bench.tidy_up().await;
    let finding = found?;
    tidied?;
    Ok(Report::new(experiment, &finding, bench.into_steps()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_experiment_is_whole() {
        let mut names = names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EXPERIMENTS.len(), "each has a name of its own");
        for e in EXPERIMENTS {
            assert!((2..=4).contains(&e.answers.len()), "{}", e.name);
            assert!(e.right < e.answers.len(), "{}", e.name);
            assert!(!e.sources.is_empty(), "{}", e.name);
            assert!(e.question.contains('?'), "{}", e.name);
            for text in [e.explanation, e.otherwise] {
                assert!(text.ends_with(['.', '?']), "{}: {text}", e.name);
            }
        }
        assert_eq!(find("alg-none").map(|e| e.name), Some("alg-none"));
        assert_eq!([letter(0), letter(3)], ['a', 'd']);
    }
}
