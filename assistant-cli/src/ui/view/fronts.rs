//! What stands before the tab: the form, the question, the help.

use jiff::Zoned;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Position, Rect},
    style::{Style, Stylize},
    text::{Line, Span},
    widgets::{Block, BorderType, Clear, Padding, Paragraph, Wrap},
};

use super::{ACCENT, BAD, DIM, fit};
use crate::{
    api::Service,
    ui::{
        form::{Field, Form, Name, Stage},
        model::Doomed,
    },
};

/// Columns that the names of the fields take.
const LABELS: u16 = 14;

/// The form: a line for each field, and below it what is wrong with it or how a date was read.
pub(super) fn form(form: &Form, now: &Zoned, frame: &mut Frame, area: Rect) {
    let thing = form.service.thing();
    let title = match form.id {
        Some(id) => format!(" Edit {thing} {id} "),
        None => format!(" Add {thing} "),
    };
    let below = match &form.stage {
        Stage::Writing => String::new(),
        Stage::Saving => "… saving".to_owned(),
        Stage::Failed(failure) => format!("✗ {}", failure.sentence()),
    };
    let wanted = u16::try_from(2 * form.fields.len()).unwrap_or(u16::MAX);
    let inside = popup(frame, area, &title, (72, wanted + 5));
    // In a low terminal the fields get the room, unless there is something to say.
    let least = if below.is_empty() { 0 } else { 2 };
    let said = inside.height.saturating_sub(wanted).clamp(least, 3);
    let rows = Layout::vertical([Constraint::Fill(1), Constraint::Length(said)]);
    let [mut fields, bottom] = rows.areas(inside);
    // In a low terminal the field that gets the keys comes first.
    let fitting = usize::from(fields.height / 2).max(1);
    let first = (form.at + 1).saturating_sub(fitting);
    for (place, field) in form.fields.iter().enumerate().skip(first).take(fitting) {
        let [line, note, rest] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Fill(1),
        ])
        .areas(fields);
        draw_field(form, field, form.at == place, frame, line);
        draw_note(form, field, now, frame, note);
        fields = rest;
    }
    let style = if matches!(form.stage, Stage::Failed(_)) {
        BAD
    } else {
        ACCENT
    };
    let below = Paragraph::new(below).style(style).wrap(Wrap { trim: true });
    frame.render_widget(below, bottom);
}

fn draw_field(form: &Form, field: &Field, on: bool, frame: &mut Frame, area: Rect) {
    let [label, text] =
        Layout::horizontal([Constraint::Length(LABELS), Constraint::Fill(1)]).areas(area);
    let name = field.name.label();
    let name = if on {
        Line::from(format!("▶ {name}")).style(ACCENT).bold()
    } else {
        Line::from(format!("  {name}")).style(DIM)
    };
    frame.render_widget(name, label);
    // One column stays free for the cursor behind the last character.
    let scroll = field
        .input
        .visual_scroll(usize::from(text.width.saturating_sub(1)));
    let scroll = u16::try_from(scroll).unwrap_or(u16::MAX);
    let value = field.input.value();
    let shown = if value.is_empty() && field.name == Name::Title && form.id.is_none() {
        Line::from(match form.service {
            Service::Note => "Untitled Note",
            Service::Calendar => "Untitled Event",
        })
        .style(DIM)
    } else {
        Line::from(value.replace(char::is_control, " "))
    };
    let style = if on {
        Style::new().underlined()
    } else {
        Style::new()
    };
    frame.buffer_mut().set_style(text, style);
    frame.render_widget(Paragraph::new(shown).scroll((0, scroll)), text);
    if on && form.stage != Stage::Saving && !text.is_empty() {
        let cursor = u16::try_from(field.input.visual_cursor()).unwrap_or(u16::MAX);
        let x = (text.x + cursor.saturating_sub(scroll)).min(text.right() - 1);
        frame.set_cursor_position(Position { x, y: text.y });
    }
}

fn draw_note(form: &Form, field: &Field, now: &Zoned, frame: &mut Frame, area: Rect) {
    let [_, area] =
        Layout::horizontal([Constraint::Length(LABELS), Constraint::Fill(1)]).areas(area);
    let note = match (&field.error, form.reading(field.name, now)) {
        (Some(error), _) => Line::from(fit(&format!("✗ {error}"), area.width)).style(BAD),
        (None, Some(moment)) => Line::from(format!("= {moment}")).style(DIM),
        (None, None) => Line::default(),
    };
    frame.render_widget(note, area);
}

/// The question before a deletion.
pub(super) fn confirm(row: &Doomed, frame: &mut Frame, area: Rect) {
    let thing = row.service.thing();
    let inside = popup(
        frame,
        area,
        &format!(" Delete {thing} {} ", row.id),
        (56, 5),
    );
    let name = fit(&row.title, inside.width.saturating_sub(16));
    let question = vec![
        Line::from(vec![
            "Delete ".into(),
            format!("“{name}”").bold(),
            " for good?".into(),
        ]),
        Line::default(),
        Line::from(vec![
            "y".bold(),
            Span::styled(" delete   ", DIM),
            "n".bold(),
            Span::styled(" keep", DIM),
        ]),
    ];
    frame.render_widget(Paragraph::new(question), inside);
}

const HELP: &[(&str, &str)] = &[
    ("r", "get a token for each service and load; later: reload"),
    ("← ↑ ↓ →", "move from card to card"),
    ("Enter", "edit the card, or add one at “Add”"),
    ("Del", "delete the card, after a question"),
    ("t", "what is in the token of the last call"),
    (
        "1 2 3 4",
        "Board, Tokens, Trace, Lab; Tab goes through them",
    ),
    ("q Ctrl-C", "quit"),
    (
        "mouse",
        "tabs, cards, rows, buttons and these keys; the wheel",
    ),
    ("", ""),
    ("Tab ↑ ↓", "in a form: to another field"),
    ("Enter Esc", "in a form: save, or leave without saving"),
    ("dates", "tomorrow 15:00, next friday 9am, in 2 hours,"),
    ("", "2026-12-24 18:00; an end also +90m or 16:00"),
];

/// All keys.
pub(super) fn help(frame: &mut Frame, area: Rect) {
    let height = u16::try_from(HELP.len()).unwrap_or(u16::MAX);
    let inside = popup(frame, area, " Help ", (68, height + 2));
    let lines: Vec<Line> = HELP
        .iter()
        .map(|(keys, what)| Line::from(vec![format!("{keys:<11}").bold(), (*what).into()]))
        .collect();
    frame.render_widget(Paragraph::new(lines), inside);
}

/// An empty box in the middle, no larger than the area. Answers with its inside.
fn popup(frame: &mut Frame, area: Rect, title: &str, (width, height): (u16, u16)) -> Rect {
    let area = area.centered(
        Constraint::Length(width.min(area.width)),
        Constraint::Length(height.min(area.height)),
    );
    let block = Block::bordered()
        .border_type(BorderType::Thick)
        .border_style(ACCENT)
        .padding(Padding::horizontal(1))
        .title(Line::from(title.to_owned()).bold());
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    inside
}
