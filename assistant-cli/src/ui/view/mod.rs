//! Draws the model. Pure: what is on the screen follows from the model and the size alone.
//!
//! From top to bottom: the tabs, the one that is open, what is going on, the token in use, the keys.
//! Nothing is told by colour alone. Whoever draws something that can be clicked says so in the
//! [`Targets`], so that a click does what stands where it went.

mod cards;
mod exchanges;
mod experiments;
mod fronts;
mod held_tokens;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
};

use super::{
    keys::{Action, Choice, choices},
    model::{Front, Model, News, Tab},
};
use crate::{api::Service, when};

const ACCENT: Style = Style::new().fg(Color::Cyan);
const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
const DIM: Style = Style::new().dim();

/// Below this width only the column with the cursor is drawn.
const BOTH_COLUMNS: u16 = 60;

/// What a click would do, and where.
#[derive(Clone, Debug, Default)]
pub struct Targets(Vec<(Rect, Action)>);

impl Targets {
    /// What a click here would do; what was drawn last lies on top.
    pub fn at(&self, column: u16, row: u16) -> Option<Action> {
        let here = Position { x: column, y: row };
        let mut targets = self.0.iter().rev();
        let (_, action) = targets.find(|(area, _)| area.contains(here))?;
        Some(*action)
    }

    fn add(&mut self, area: Rect, action: Action) {
        self.0.push((area, action));
    }
}

/// Draws one picture, in whatever size the terminal has.
pub fn view(model: &Model, frame: &mut Frame) -> Targets {
    let mut targets = Targets::default();
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ]);
    let [title, inside, news, token, keys] = rows.areas(frame.area());
    tabs_line(model, frame, title, &mut targets);
    match model.tab {
        Tab::Board => board(model, frame, inside, &mut targets),
        Tab::Tokens => held_tokens::draw(model, frame, inside, &mut targets),
        Tab::Trace => exchanges::draw(model, frame, inside, &mut targets),
        Tab::Lab => experiments::draw(model, frame, inside, &mut targets),
    }
    if !matches!(model.front, Front::Columns) {
        // What lies behind the window cannot be reached.
        targets = Targets::default();
    }
    frame.render_widget(news_line(model), news);
    token_line(model, frame, token);
    keys_line(&choices(model), frame, keys, &mut targets);
    match &model.front {
        Front::Columns => {}
        Front::Form(form) => fronts::form(form, &model.now, frame, inside),
        Front::Confirm(row) => fronts::confirm(row, frame, inside),
        Front::Help => fronts::help(frame, inside),
    }
    targets
}

fn board(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    if area.width >= BOTH_COLUMNS {
        let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2);
        let [left, right] = halves.areas(area);
        cards::notes(model, frame, left, targets);
        cards::events(model, frame, right, targets);
    } else {
        match model.side {
            Service::Note => cards::notes(model, frame, area, targets),
            Service::Calendar => cards::events(model, frame, area, targets),
        }
    }
}

/// The tabs, each with the key that opens it; the one that is open stands in brackets.
fn tabs_line(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let moment = when::show(now_ms(model), model.now.time_zone());
    let mut spans = Vec::new();
    let mut x = area.x;
    for (tab, key) in Tab::ALL.into_iter().zip('1'..) {
        let name = tab.name();
        let (text, style) = if tab == model.tab {
            (format!("[{key} {name}]"), Style::new().bold().reversed())
        } else {
            (format!(" {key} {name} "), DIM)
        };
        let wanted = u16::try_from(text.chars().count()).unwrap_or(u16::MAX);
        let place = Rect {
            x,
            width: wanted,
            ..area
        };
        targets.add(place.intersection(area), Action::Tab(tab));
        x = x.saturating_add(wanted);
        spans.push(Span::styled(text, style));
    }
    let right = if area.width < BOTH_COLUMNS {
        Line::default()
    } else {
        Line::from(vec![moment.into(), " ".into()]).style(DIM)
    };
    sides(frame, area, Line::from(spans), right);
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
fn keys_line(choices: &[Choice], frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let named = choices.iter().filter(|choice| !choice.keys.is_empty());
    let mut shown: Vec<(&Choice, [Span; 2])> = named
        .map(|choice| {
            let keys = format!(" {}", choice.keys).bold();
            (
                choice,
                [keys, Span::styled(format!(" {} ", choice.what), DIM)],
            )
        })
        .collect();
    let width = |shown: &[(&Choice, [Span; 2])]| -> usize {
        let spans = shown.iter().flat_map(|(_, spans)| spans);
        spans.map(Span::width).sum()
    };
    while width(&shown) > usize::from(area.width) && shown.len() > 1 {
        // The second one is the least needed: "move", or "other field".
        shown.remove(usize::from(shown.len() > 2));
    }
    let mut x = area.x;
    for (choice, spans) in &shown {
        let wanted = spans.iter().map(Span::width).sum::<usize>();
        let wanted = u16::try_from(wanted).unwrap_or(u16::MAX);
        let place = Rect {
            x,
            width: wanted,
            ..area
        };
        x = x.saturating_add(wanted);
        // Where keys do different things, a click would be a guess.
        if let [(_, action), rest @ ..] = choice.on.as_slice()
            && rest.iter().all(|(_, other)| other == action)
        {
            targets.add(place.intersection(area), *action);
        }
    }
    let spans: Vec<Span> = shown.into_iter().flat_map(|(_, spans)| spans).collect();
    frame.render_widget(Line::from(spans), area);
}

/// Buttons in a row, as wide as they have to be: `[x revoke]`.
fn buttons(named: &[(&str, Action)], frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let mut x = area.x;
    for (name, action) in named {
        let text = format!("[{name}]");
        let wanted = u16::try_from(Span::raw(text.as_str()).width()).unwrap_or(u16::MAX);
        let place = Rect {
            x,
            width: wanted,
            height: 1,
            ..area
        };
        let place = place.intersection(area);
        frame.render_widget(Line::from(text).style(ACCENT), place);
        targets.add(place, *action);
        x = x.saturating_add(wanted + 1);
    }
}

/// As many of the lines as fit, from `first` on, or as near as it makes sense.
fn window(mut lines: Vec<Line<'_>>, first: usize, area: Rect) -> Vec<Line<'_>> {
    let height = usize::from(area.height);
    let most = lines.len().saturating_sub(height);
    let mut lines = lines.split_off(first.min(most));
    if lines.len() > height && height > 0 {
        lines.truncate(height - 1);
        lines.push(Line::from("↓ PgDn: more").style(DIM));
    }
    lines
}

/// A text in lines of this width.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width).max(1);
    let mut lines = vec![String::new()];
    let length = |text: &str| Span::raw(text).width();
    for word in text.split(' ') {
        let mut word: String = word
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        loop {
            let line = lines.last_mut().expect("there is one from the start");
            let gap = usize::from(!line.is_empty());
            if length(line) + gap + length(&word) <= width {
                if gap == 1 {
                    line.push(' ');
                }
                line.push_str(&word);
                break;
            }
            if gap == 1 {
                lines.push(String::new());
                continue;
            }
            // A word that is longer than a line is cut.
            let mut taken = String::new();
            let mut rest = word.chars();
            for c in rest.by_ref() {
                taken.push(c);
                if length(&taken) >= width {
                    break;
                }
            }
            let rest: String = rest.collect();
            lines.push(String::new());
            let last = lines.len() - 2;
            lines[last] = taken;
            if rest.is_empty() {
                break;
            }
            word = rest;
        }
    }
    if lines.len() > 1 && lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
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
