//! The tab "Lab": the list of experiments, and the one under the cursor: its question, how it goes on,
//! what came of it, and why.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{ACCENT, BAD, BOTH_COLUMNS, DIM, GOOD, Targets, buttons, fit, window, wrapped};
use crate::{
    exchange::Exchange,
    failure::Failure,
    lab::{EXPERIMENTS, Experiment, Note, Report, letter},
    ui::{
        keys::Action,
        model::Model,
        trials::{Trial, TrialStage},
    },
};

/// Columns of the list.
const LIST: u16 = 26;

pub(super) fn draw(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let inside = if area.width >= BOTH_COLUMNS {
        let halves = Layout::horizontal([Constraint::Length(LIST), Constraint::Fill(1)]);
        let [left, right] = halves.spacing(1).areas(area);
        list(model, frame, left, targets);
        right
    } else {
        let rows = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]);
        let [top, below] = rows.areas(area);
        let (experiment, _) = model.trials.current();
        let place = format!("{} of {}: ", model.trials.at + 1, EXPERIMENTS.len());
        let line = vec![Span::styled(place, DIM), experiment.name.bold()];
        frame.render_widget(Line::from(line), top);
        below
    };
    let (experiment, trial) = model.trials.current();
    match &trial.stage {
        TrialStage::Asked => asked(model, experiment, trial, frame, inside, targets),
        TrialStage::Running(notes) => running(experiment, notes, frame, inside, targets),
        TrialStage::Done(report) => {
            let lines = done(report, inside.width);
            again(lines, model.trials.scroll, frame, inside, targets);
        }
        TrialStage::Failed(failure) => {
            let lines = failed(experiment, failure, inside.width);
            again(lines, model.trials.scroll, frame, inside, targets);
        }
    }
}

/// All of them, each with what is known of it.
fn list(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let height = usize::from(area.height);
    let first = (model.trials.at + 1).saturating_sub(height);
    let rows = EXPERIMENTS.iter().zip(&model.trials.all).enumerate();
    for ((place, (experiment, trial)), y) in rows.skip(first).take(height).zip(area.y..) {
        let on = place == model.trials.at;
        let (mark, colour) = match &trial.stage {
            TrialStage::Asked => (" ", DIM),
            TrialStage::Running(_) => ("…", ACCENT),
            TrialStage::Done(report) if report.is_as_explained() => ("✓", GOOD),
            TrialStage::Done(_) => ("✗", BAD),
            TrialStage::Failed(_) => ("!", BAD),
        };
        let style = if on {
            Style::new().bold()
        } else {
            Style::new()
        };
        let line = Line::from(vec![
            Span::raw(if on { "▶" } else { " " }),
            Span::styled(mark, colour),
            Span::raw(" "),
            fit(experiment.name, area.width.saturating_sub(3)).into(),
        ]);
        let row = Rect {
            y,
            height: 1,
            ..area
        };
        frame.render_widget(line.style(style), row);
        targets.add(row, Action::Row(place));
    }
}

/// The question, and the answers to choose from.
fn asked(
    model: &Model,
    experiment: &Experiment,
    trial: &Trial,
    frame: &mut Frame,
    area: Rect,
    targets: &mut Targets,
) {
    let mut lines = question(experiment, area.width);
    lines.push(Line::default());
    let mut places = Vec::new();
    for (place, answer) in experiment.answers.iter().enumerate() {
        let chosen = trial.prediction == Some(place);
        let lead = if chosen { "▶ " } else { "  " };
        let style = if chosen {
            Style::new().bold()
        } else {
            Style::new()
        };
        let top = lines.len();
        for (nth, part) in wrapped(answer, area.width.saturating_sub(6))
            .into_iter()
            .enumerate()
        {
            let before = if nth == 0 {
                format!("{lead}{}  ", letter(place))
            } else {
                " ".repeat(5)
            };
            lines.push(Line::from(format!("{before}{part}")).style(style));
        }
        places.push((top, lines.len(), place));
    }
    lines.push(Line::default());
    let button = lines.len();
    let shown = window(lines, 0, area);
    frame.render_widget(Paragraph::new(shown), area);
    let row = |nth: usize, rows: usize| {
        let y = area
            .y
            .saturating_add(u16::try_from(nth).unwrap_or(u16::MAX));
        let height = u16::try_from(rows).unwrap_or(u16::MAX);
        Rect { y, height, ..area }.intersection(area)
    };
    for (top, end, place) in places {
        targets.add(row(top, end - top), Action::Predict(place));
    }
    let named = match (model.trials.running(), trial.prediction) {
        (Some(_), _) => return,
        (None, Some(_)) => "Enter: see what happens",
        (None, None) => "Enter: run it without a prediction",
    };
    buttons(&[(named, Action::Run)], frame, row(button, 1), targets);
}

fn question(experiment: &Experiment, width: u16) -> Vec<Line<'static>> {
    let titles = wrapped(experiment.title, width).into_iter();
    let mut lines: Vec<Line> = titles.map(|title| Line::from(title).bold()).collect();
    lines.extend(
        wrapped(experiment.question, width)
            .into_iter()
            .map(Line::from),
    );
    lines
}

/// What was told so far; the last of it is in the picture.
fn running(
    experiment: &Experiment,
    notes: &[Note],
    frame: &mut Frame,
    area: Rect,
    targets: &mut Targets,
) {
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ]);
    let [top, inside, bottom] = rows.areas(area);
    frame.render_widget(Line::from(experiment.title).bold(), top);
    let mut lines = Vec::new();
    for note in notes {
        match note {
            Note::Step(what) => lines.extend(step(what, inside.width)),
            Note::Exchange(exchange) => lines.push(exchanged(exchange, inside.width)),
            Note::Remark(what) => lines.extend(remark(what, inside.width)),
        }
    }
    let first = lines.len().saturating_sub(usize::from(inside.height));
    frame.render_widget(Paragraph::new(lines.split_off(first)), inside);
    frame.render_widget(Line::from("… going on").style(ACCENT), bottom);
    let [_, right] =
        Layout::horizontal([Constraint::Length(12), Constraint::Fill(1)]).areas(bottom);
    buttons(&[("Esc stop it", Action::Stop)], frame, right, targets);
}

/// The lines, and below them the way back to the question.
fn again(
    lines: Vec<Line<'static>>,
    scroll: usize,
    frame: &mut Frame,
    area: Rect,
    targets: &mut Targets,
) {
    let rows = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]);
    let [inside, bottom] = rows.areas(area);
    frame.render_widget(Paragraph::new(window(lines, scroll, inside)), inside);
    buttons(&[("Enter: ask again", Action::Run)], frame, bottom, targets);
}

/// What came of it and why, and then all that was done.
fn done(report: &Report, width: u16) -> Vec<Line<'static>> {
    let experiment = report.experiment;
    let mut lines = vec![Line::from(fit(experiment.title, width)).bold()];
    let (mark, colour) = if report.is_as_explained() {
        ("✓", GOOD)
    } else {
        ("✗", BAD)
    };
    let what = wrapped(&format!("{}.", report.what), width.saturating_sub(2));
    for (nth, part) in what.into_iter().enumerate() {
        let lead = if nth == 0 { mark } else { " " };
        let lead = Span::styled(format!("{lead} "), colour);
        lines.push(Line::from(vec![lead, part.into()]));
    }
    if let Some(answer) = report.answer {
        let answer = format!("{}: {}", letter(answer), experiment.answers[answer]);
        let answer = wrapped(&answer, width.saturating_sub(2)).into_iter();
        lines.extend(answer.map(|part| Line::from(format!("  {part}")).style(DIM)));
    }
    if let Some(judgement) = report.judgement() {
        lines.push(Line::from(format!("  {judgement}")).bold());
    }
    if !report.is_as_explained() {
        lines.push(Line::from("This is not what should have happened.").style(BAD));
        lines.extend(
            wrapped(experiment.otherwise, width)
                .into_iter()
                .map(Line::from),
        );
    }
    let why = if report.is_as_explained() {
        "Why"
    } else {
        "How it should be"
    };
    lines.push(Line::from(why).style(ACCENT));
    lines.extend(
        wrapped(experiment.explanation, width)
            .into_iter()
            .map(Line::from),
    );
    let sources = wrapped(&experiment.sources.join("; "), width).into_iter();
    lines.extend(sources.map(|part| Line::from(part).style(DIM)));
    lines.push(Line::from("What was done").style(ACCENT));
    for done in &report.steps {
        lines.extend(step(&done.what, width));
        for exchange in &done.exchanges {
            lines.push(exchanged(exchange, width));
        }
        for what in &done.remarks {
            lines.extend(remark(what, width));
        }
    }
    lines.push(Line::from("The tab Trace has the requests with their headers.").style(DIM));
    lines
}

fn failed(experiment: &Experiment, failure: &Failure, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![
        Line::from(fit(experiment.title, width)).bold(),
        Line::from("✗ It could not be carried out").style(BAD),
    ];
    lines.extend(wrapped(&failure.message, width).into_iter().map(Line::from));
    if let Some(hint) = &failure.hint {
        let hint = wrapped(hint, width.saturating_sub(2)).into_iter();
        lines.extend(hint.map(|part| Line::from(format!("  {part}")).style(DIM)));
    }
    lines
}

fn step(what: &str, width: u16) -> Vec<Line<'static>> {
    let parts = wrapped(what, width.saturating_sub(2))
        .into_iter()
        .enumerate();
    parts
        .map(|(nth, part)| Line::from(format!("{} {part}", if nth == 0 { "•" } else { " " })))
        .collect()
}

fn exchanged(exchange: &Exchange, width: u16) -> Line<'static> {
    let text = format!(
        "    {:<3} {} → {}: {}",
        exchange.outcome(),
        exchange.from,
        exchange.to,
        exchange.what()
    );
    Line::from(fit(&text, width)).style(DIM)
}

fn remark(what: &str, width: u16) -> Vec<Line<'static>> {
    let parts = wrapped(what, width.saturating_sub(6))
        .into_iter()
        .enumerate();
    parts
        .map(|(nth, part)| {
            let lead = if nth == 0 { "    ▸ " } else { "      " };
            Line::from(format!("{lead}{part}")).style(ACCENT)
        })
        .collect()
}
