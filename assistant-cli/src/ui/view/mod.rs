//! Draws the model. Pure: what is on the screen follows from the model and the size alone.
//!
//! From top to bottom: a title, the two columns, what is going on, the token in use, the keys.
//! Nothing is told by colour alone.

mod cards;
mod fronts;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
};

use super::{
    keys::{Choice, choices},
    model::{Front, Model, News},
};
use crate::{api::Service, when};

const ACCENT: Style = Style::new().fg(Color::Cyan);
const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
const DIM: Style = Style::new().dim();

/// Below this width only the column with the cursor is drawn.
const BOTH_COLUMNS: u16 = 60;

/// Draws one picture, in whatever size the terminal has.
pub fn view(model: &Model, frame: &mut Frame) {
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ]);
    let [title, columns, news, token, keys] = rows.areas(frame.area());
    let moment = when::show(now_ms(model), model.now.time_zone());
    sides(
        frame,
        title,
        Line::from(" Assistant").bold(),
        Line::from(vec![moment.into(), " ".into()]).style(DIM),
    );
    if columns.width >= BOTH_COLUMNS {
        let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2);
        let [left, right] = halves.areas(columns);
        cards::notes(model, frame, left);
        cards::events(model, frame, right);
    } else {
        match model.side {
            Service::Note => cards::notes(model, frame, columns),
            Service::Calendar => cards::events(model, frame, columns),
        }
    }
    frame.render_widget(news_line(model), news);
    token_line(model, frame, token);
    frame.render_widget(keys_line(&choices(model), keys.width), keys);
    match &model.front {
        Front::Columns => {}
        Front::Form(form) => fronts::form(form, &model.now, frame, columns),
        Front::Confirm(row) => fronts::confirm(row, frame, columns),
        Front::Help => fronts::help(frame, columns),
        Front::Token => fronts::token(model, frame, columns),
    }
}

/// What is going on, or how the last thing ended.
fn news_line(model: &Model) -> Line<'static> {
    let mut busy = Vec::new();
    if model.notes.rows.is_loading() {
        busy.push("loading notes".to_owned());
    }
    if model.events.rows.is_loading() {
        busy.push("loading events".to_owned());
    }
    for row in &model.deleting {
        busy.push(format!("deleting {} {}", row.service.thing(), row.id));
    }
    if !busy.is_empty() {
        return Line::from(format!(" … {}", busy.join(", "))).style(ACCENT);
    }
    match &model.news {
        Some(News::Good(text)) => Line::from(vec![Span::styled(" ✓ ", GOOD), text.clone().into()]),
        Some(News::Bad(text)) => Line::from(format!(" ✗ {text}")).style(BAD),
        None => Line::default(),
    }
}

/// Which token the calls use: for whom, for what, for how long.
fn token_line(model: &Model, frame: &mut Frame, area: Rect) {
    let Some(token) = &model.token else {
        let none = " Token  none yet: r gets one for each service";
        frame.render_widget(Line::from(none).reversed(), area);
        return;
    };
    let left = match token.time_left(&model.now) {
        0 => "  expired: the next call gets a new one ".to_owned(),
        seconds => format!("  {} left ", when::show_countdown(seconds)),
    };
    let scopes = if token.scopes.is_empty() {
        "none"
    } else {
        &token.scopes
    };
    let labels = if area.width < BOTH_COLUMNS {
        [" ", " "]
    } else {
        [" Token  audience ", "  scope "]
    };
    let [audience, scope] = labels.map(Span::raw);
    frame.buffer_mut().set_style(area, Style::new().reversed());
    sides(
        frame,
        area,
        Line::from(vec![
            audience,
            token.resource.clone().bold(),
            scope,
            scopes.to_owned().bold(),
        ]),
        Line::from(left),
    );
}

/// The keys that do something now, as many as fit; the last ones, help and quit, go first.
fn keys_line(choices: &[Choice], width: u16) -> Line<'static> {
    let mut shown: Vec<Span> = Vec::new();
    for choice in choices {
        shown.push(format!(" {}", choice.keys).bold());
        shown.push(Span::styled(format!(" {} ", choice.what), DIM));
    }
    let mut line = Line::from(shown);
    while line.width() > usize::from(width) && line.spans.len() > 2 {
        // The second pair is the least needed: "move", or "other field".
        let drop = if line.spans.len() > 4 { 2 } else { 0 };
        line.spans.drain(drop..drop + 2);
    }
    line
}

/// One text at each side; where they would meet, the left one gives way.
fn sides(frame: &mut Frame, area: Rect, left: Line, right: Line) {
    let wanted = u16::try_from(right.width()).unwrap_or(u16::MAX);
    let [here, there] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(wanted)]).areas(area);
    frame.render_widget(left, here);
    frame.render_widget(right, there);
}

fn now_ms(model: &Model) -> i64 {
    model.now.timestamp().as_millisecond()
}

/// The text, or as much of it as fits with an ellipsis. Wide characters count as two.
fn fit(text: &str, width: u16) -> String {
    let width = usize::from(width);
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let span = Span::raw(text.as_str());
    if span.width() <= width {
        return text;
    }
    let mut fitting = String::new();
    for grapheme in span.styled_graphemes(Style::new()) {
        if Span::raw(fitting.as_str()).width() + Span::raw(grapheme.symbol).width() >= width {
            break;
        }
        fitting.push_str(grapheme.symbol);
    }
    if width > 0 {
        fitting.push('…');
    }
    fitting
}
