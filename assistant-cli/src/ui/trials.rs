//! The tab "Lab": experiments, what was predicted, and what came of them.

use crate::{
    failure::Failure,
    lab::{EXPERIMENTS, Experiment, Note, Report},
};

/// All experiments with their state.
#[derive(Clone, Debug)]
pub struct Trials {
    /// One for each of [`EXPERIMENTS`].
    pub all: Vec<Trial>,
    /// The place of the cursor.
    pub at: usize,
    /// How many lines are above the screen.
    pub scroll: usize,
}

/// What is known of one experiment.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What the user says will happen.
    pub prediction: Option<usize>,
    /// How far it has come.
    pub stage: TrialStage,
}

/// How far an experiment has come.
#[derive(Clone, Debug)]
pub enum TrialStage {
    /// The question is asked.
    Asked,
    /// It goes on, and this was told of it.
    Running(Vec<Note>),
    /// It came to its end.
    Done(Box<Report>),
    /// It could not be carried out.
    Failed(Failure),
}

impl Default for Trials {
    fn default() -> Self {
        let fresh = Trial {
            prediction: None,
            stage: TrialStage::Asked,
        };
        Self {
            all: vec![fresh; EXPERIMENTS.len()],
            at: 0,
            scroll: 0,
        }
    }
}

impl Trials {
    /// The experiment under the cursor.
    pub fn current(&self) -> (&'static Experiment, &Trial) {
        (&EXPERIMENTS[self.at], &self.all[self.at])
    }

    /// The place of the one that goes on; there is one at a time.
    pub fn running(&self) -> Option<usize> {
        let is_running = |trial: &Trial| matches!(trial.stage, TrialStage::Running(_));
        self.all.iter().position(is_running)
    }

    /// Moves the cursor as far as it goes.
    pub fn go(&mut self, by: isize) {
        self.choose(self.at.saturating_add_signed(by).min(self.all.len() - 1));
    }

    /// Moves the cursor.
    pub fn choose(&mut self, place: usize) {
        if place < self.all.len() && place != self.at {
            (self.at, self.scroll) = (place, 0);
        }
    }

    /// Notes the prediction; the same one again takes it back.
    pub fn predict(&mut self, answer: usize) {
        let trial = &mut self.all[self.at];
        if matches!(trial.stage, TrialStage::Asked) {
            trial.prediction = (trial.prediction != Some(answer)).then_some(answer);
        }
    }

    /// Begins the experiment under the cursor, and says which one it is; asks anew after an end.
    pub fn begin(&mut self) -> Option<&'static Experiment> {
        self.scroll = 0;
        let nothing_runs = self.running().is_none();
        let trial = &mut self.all[self.at];
        match trial.stage {
            TrialStage::Asked if nothing_runs => {
                trial.stage = TrialStage::Running(Vec::new());
                Some(&EXPERIMENTS[self.at])
            }
            TrialStage::Done(_) | TrialStage::Failed(_) => {
                *trial = Trial {
                    prediction: None,
                    stage: TrialStage::Asked,
                };
                None
            }
            _ => None,
        }
    }

    /// Takes in what is told of the one that goes on.
    pub fn told(&mut self, note: Note) {
        let running = self.running();
        if let Some(place) = running
            && let TrialStage::Running(notes) = &mut self.all[place].stage
        {
            notes.push(note);
        }
    }

    /// Takes in how it ended.
    pub fn end(&mut self, outcome: Result<Report, Failure>) {
        let Some(place) = self.running() else { return };
        let trial = &mut self.all[place];
        trial.stage = match outcome {
            Ok(mut report) => {
                report.prediction = trial.prediction;
                TrialStage::Done(Box::new(report))
            }
            Err(failure) => TrialStage::Failed(failure),
        };
        if place == self.at {
            self.scroll = 0;
        }
    }
}
