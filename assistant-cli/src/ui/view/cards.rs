//! The two columns of cards.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::{Line, Text},
    widgets::{Block, BorderType, Padding, Paragraph, Wrap},
};

use super::{ACCENT, BAD, DIM, Targets, fit};
use crate::{
    api::{Access, Need, Service},
    failure::Failure,
    records::{Event, Note},
    ui::{
        keys::Action,
        model::{Card, Column, Model, Remote},
    },
    when,
};

/// Rows of a card with its border: title, two more lines.
const CARD: u16 = 5;
/// Rows of the "Add" card with its border.
const ADD: u16 = 3;
/// Rows of a failure with its border.
const FAILURE: u16 = 8;
/// Rows of what is said before anything is loaded.
const INVITATION: u16 = 5;

/// The left column.
pub(super) fn notes(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let draw = Draw {
        model,
        service: Service::Note,
        heading: "Notes",
    };
    draw.column(
        &model.notes,
        (frame, targets),
        area,
        |note: &Note, width| {
            let description = fit(&note.description, width.saturating_mul(2));
            vec![
                Line::from(fit(&note.title, width)).bold(),
                Line::from(description),
            ]
        },
    );
}

/// The right column.
pub(super) fn events(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let draw = Draw {
        model,
        service: Service::Calendar,
        heading: "Events",
    };
    draw.column(
        &model.events,
        (frame, targets),
        area,
        |event: &Event, width| {
            let span = when::show_span(event.start, event.end, &model.now);
            vec![
                Line::from(fit(&event.title, width)).bold(),
                Line::from(fit(&span, width)).style(ACCENT),
                Line::from(fit(&event.description, width)),
            ]
        },
    );
}

struct Draw<'a> {
    model: &'a Model,
    service: Service,
    heading: &'static str,
}

impl Draw<'_> {
    /// A heading, and below it as many cards as fit, around the one with the cursor.
    fn column<T: Card + PartialEq>(
        &self,
        column: &Column<T>,
        (frame, targets): (&mut Frame, &mut Targets),
        area: Rect,
        body: impl Fn(&T, u16) -> Vec<Line<'static>>,
    ) {
        let [head, mut rest] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        if let Remote::Failed(failure, _) = &column.rows {
            let rows = Layout::vertical([Constraint::Length(FAILURE), Constraint::Fill(1)]);
            let [top, below] = rows.areas(rest);
            draw_failure(failure, frame, top);
            rest = below;
        }
        if column.rows == Remote::NotAsked {
            let rows = Layout::vertical([Constraint::Length(INVITATION), Constraint::Fill(1)]);
            let [top, below] = rows.areas(rest);
            self.invitation(frame, top);
            rest = below;
        }
        let cards = column.cards();
        let focused = self.model.side == self.service;
        let window = window(cards.len(), column.at, rest.height);
        self.head(column, window.first, frame, head);
        let mut area = rest;
        for place in window.first..window.end {
            let on = focused && column.at == place;
            let rows = if place < cards.len() { CARD } else { ADD };
            let here = cut(&mut area, rows);
            // The first click moves the cursor, the second opens.
            let click = if on {
                Action::Open
            } else {
                Action::Card(self.service, place)
            };
            targets.add(here, click);
            let Some(card) = cards.get(place) else {
                self.add_card(on, frame, here);
                continue;
            };
            let lines = body(card, here.width.saturating_sub(4));
            let mut block = border(on, &format!(" {}", card.id()));
            if self.is_going(card.id()) {
                block = block.title(Line::from(" deleting … ").right_aligned());
            }
            let card = Paragraph::new(lines).wrap(Wrap { trim: true }).block(block);
            frame.render_widget(card, here);
        }
        let more = (cards.len() + 1).saturating_sub(window.end);
        if more > 0 {
            let more = format!("  ↓ {more} more");
            frame.render_widget(Line::from(more).style(DIM), cut(&mut area, 1));
        }
    }

    /// What the first key will do.
    fn invitation(&self, frame: &mut Frame, area: Rect) {
        let scope = Need {
            service: self.service,
            access: Access::Read,
        }
        .scope();
        let name = self.service.name();
        let text = Line::from(vec![
            "r".bold(),
            format!(" asks for a token for {name} with the scope {scope}, and loads what is there")
                .into(),
        ]);
        let padding = Block::new().padding(Padding::uniform(1));
        let text = Paragraph::new(text).style(DIM).wrap(Wrap { trim: true });
        frame.render_widget(text.block(padding), area);
    }

    fn head<T: Card>(&self, column: &Column<T>, above: usize, frame: &mut Frame, area: Rect) {
        let (mark, style) = if self.model.side == self.service {
            ("▌", Style::new().bold())
        } else {
            (" ", DIM)
        };
        let mut text = format!("{mark}{}", self.heading);
        match (&column.rows, column.rows.known().map(Vec::len)) {
            (Remote::Loading(_), _) => text.push_str("  loading …"),
            (_, Some(count)) => text = format!("{text} ({count})"),
            (_, None) => {}
        }
        let above = match above {
            0 => String::new(),
            above => format!("↑ {above} more "),
        };
        super::sides(
            frame,
            area,
            Line::from(text).style(style),
            Line::from(above).style(DIM),
        );
    }

    fn add_card(&self, on: bool, frame: &mut Frame, area: Rect) {
        let text = format!("+ Add {}", self.service.thing());
        let style = if on { Style::new().bold() } else { DIM };
        let block = border(on, "");
        frame.render_widget(Paragraph::new(text).style(style).block(block), area);
    }

    fn is_going(&self, id: u64) -> bool {
        let mut deleting = self.model.deleting.iter();
        deleting.any(|row| row.service == self.service && row.id == id)
    }
}

/// The card with the cursor has a thick border and a mark, besides its colour.
fn border(on: bool, title: &str) -> Block<'static> {
    let block = Block::bordered().padding(Padding::horizontal(1));
    if on {
        return block
            .border_type(BorderType::Thick)
            .border_style(ACCENT)
            .title(Line::from(format!("▶{title} ")).bold());
    }
    let block = block.border_type(BorderType::Rounded).border_style(DIM);
    if title.is_empty() {
        block
    } else {
        block.title(Line::from(format!("{title} ")))
    }
}

fn draw_failure(failure: &Failure, frame: &mut Frame, area: Rect) {
    let mut text = Text::from(failure.message.clone());
    if let Some(hint) = &failure.hint {
        text.push_line(Line::from(hint.clone()).style(DIM));
    }
    let block = Block::bordered()
        .border_style(BAD)
        .title(Line::from(" ✗ failed ").style(BAD).bold())
        .title_bottom(Line::from(" r tries again ").right_aligned())
        .padding(Padding::horizontal(1));
    let failure = Paragraph::new(text).wrap(Wrap { trim: true }).block(block);
    frame.render_widget(failure, area);
}

/// The places that are drawn: `first..end`, of the cards and the place for "Add" after them.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    first: usize,
    end: usize,
}

/// Chooses the window so that the cursor stands in its middle, as far as the ends allow. The cursor
/// is always in it, even where not a whole card fits.
fn window(cards: usize, at: usize, height: u16) -> Window {
    let places = cards + 1;
    let rows = |first: usize, end: usize| {
        let add = usize::from(end == places);
        let more = usize::from(end < places);
        (end - first - add) * usize::from(CARD) + add * usize::from(ADD) + more
    };
    let height = usize::from(height);
    let (mut first, mut end) = (at, at + 1);
    loop {
        let above = first > 0 && rows(first - 1, end) <= height;
        let below = end < places && rows(first, end + 1) <= height;
        match (above, below) {
            (true, true) if at - first < end - at => first -= 1,
            (true, false) => first -= 1,
            (_, true) => end += 1,
            (false, false) => return Window { first, end },
        }
    }
}

/// Takes rows from the top of what is left.
fn cut(area: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    let top = Rect {
        height: rows,
        ..*area
    };
    area.y += rows;
    area.height -= rows;
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_holds_the_cursor_and_no_more_than_fits() {
        for (cards, at, height, first, end) in [
            (0, 0, 20, 0, 1),
            (2, 0, 20, 0, 3),
            (3, 0, 18, 0, 4),
            // Three cards and "more".
            (9, 0, 18, 0, 3),
            (9, 4, 18, 3, 6),
            (9, 8, 18, 6, 10),
            (9, 9, 18, 6, 10),
            // Too low for anything: the cursor's place is still the one that is drawn.
            (9, 4, 2, 4, 5),
            (9, 9, 0, 9, 10),
        ] {
            assert_eq!(
                window(cards, at, height),
                Window { first, end },
                "{cards} {at} {height}"
            );
        }
    }
}
