//! The tab "Tokens": each token that is held, and what is in the one under the cursor.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{ACCENT, BAD, DIM, Targets, buttons, fit, window, wrapped};
use crate::{
    token_view::Explained,
    ui::{
        held::{Deed, HeldToken, TokenState},
        keys::Action,
        model::Model,
    },
    when,
};

/// Columns of the bar.
const BAR: usize = 16;

/// Columns that the names of the claims take.
const NAMES: u16 = 11;

/// Columns that the longest meaning of a claim takes.
const MEANINGS: u16 = 55;

/// From this width on a meaning stands beside its value: the longest value is a date with its distance.
const BESIDE: u16 = 116;

pub(super) fn draw(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let Some(current) = model.held.current() else {
        let text = "No token is held yet. r gets one for each service, and loads what is there.";
        let text = Paragraph::new(text)
            .style(DIM)
            .wrap(ratatui::widgets::Wrap { trim: true });
        let inside = area.inner(ratatui::layout::Margin::new(1, 1));
        frame.render_widget(text, inside);
        return;
    };
    let count = u16::try_from(model.held.tokens.len()).unwrap_or(u16::MAX);
    let rows = Layout::vertical([
        Constraint::Length(count.min(area.height / 3)),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
    ]);
    let [list, _, head, inside] = rows.areas(area);
    let height = usize::from(list.height);
    let first = (model.held.at + 1).saturating_sub(height);
    let rows = model.held.tokens.iter().enumerate().skip(first);
    for ((place, held), y) in rows.take(height).zip(list.y..) {
        let row = Rect {
            y,
            height: 1,
            ..list
        };
        frame.render_widget(
            row_line(model, held, place == model.held.at, row.width),
            row,
        );
        targets.add(row, Action::Row(place));
    }
    heading(current, frame, head, targets);
    let lines = explanation(model, current, inside.width);
    let lines = window(lines, model.held.scroll, inside);
    frame.render_widget(Paragraph::new(lines), inside);
}

/// For whom, for what, and how much of its life is left.
fn row_line(model: &Model, held: &HeldToken, on: bool, width: u16) -> Line<'static> {
    let token = &held.token;
    let (mark, style) = if on {
        ("▶ ", Style::new().bold())
    } else {
        ("  ", Style::new())
    };
    let left = token.time_left(&model.now);
    let life = match held.state {
        TokenState::Busy(Deed::Refresh) => "… getting a new one".to_owned(),
        TokenState::Busy(_) => "… revoking".to_owned(),
        TokenState::Revoked => "✗ revoked".to_owned(),
        TokenState::Good if left == 0 => "✗ expired".to_owned(),
        TokenState::Good => format!(
            "{} {}",
            bar(token.share_left(&model.now)),
            when::show_countdown(left)
        ),
    };
    let style = match held.state {
        TokenState::Revoked => style.patch(BAD),
        _ => style,
    };
    let room = width.saturating_sub(u16::try_from(BAR).unwrap_or(0) + 12);
    let half = usize::from(room / 2);
    let name = |text: &str, width: usize| {
        let text = fit(text, u16::try_from(width.saturating_sub(1)).unwrap_or(0));
        let gap = width.saturating_sub(Span::raw(text.as_str()).width());
        format!("{text}{}", " ".repeat(gap))
    };
    Line::from(vec![
        Span::raw(mark),
        name(&token.resource, half).into(),
        name(&token.scopes, half).into(),
        life.into(),
    ])
    .style(style)
}

/// Full at the beginning of a token's life, empty at its end.
fn bar(share: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between nothing and all of a short bar"
    )]
    let full = (share * BAR as f64).ceil() as usize;
    let full = full.min(BAR);
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn heading(held: &HeldToken, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let title = format!("What is in the token for {} ", held.token.resource);
    let title = Line::from(title).bold();
    let wanted = u16::try_from(title.width()).unwrap_or(u16::MAX);
    let [left, right] =
        Layout::horizontal([Constraint::Length(wanted), Constraint::Fill(1)]).areas(area);
    frame.render_widget(title, left);
    let mut named = Vec::new();
    if !matches!(held.state, TokenState::Busy(_)) {
        named.push(("r refresh", Action::Token(Deed::Refresh)));
        if held.state == TokenState::Good {
            named.push(("x revoke", Action::Token(Deed::Revoke)));
        }
        named.push(("c copy", Action::Token(Deed::Copy)));
    }
    buttons(&named, frame, right, targets);
}

/// Each member with its meaning: beside it where there is room, else below it.
fn explanation(model: &Model, held: &HeldToken, width: u16) -> Vec<Line<'static>> {
    let Some(view) = &held.token.view else {
        return vec![Line::from("It is no JWT: only its issuer can read it.").style(DIM)];
    };
    let mut lines = vec![Line::from("Header: how it is signed").style(ACCENT)];
    lines.extend(members(view.explain_header(), width));
    lines.push(Line::from("Claims: what the issuer says").style(ACCENT));
    lines.extend(members(view.explain_claims(&model.now), width));
    lines.push(
        Line::from("The third part is the signature: it says nothing to a reader.").style(DIM),
    );
    lines
}

fn members(members: Vec<Explained>, width: u16) -> Vec<Line<'static>> {
    let room = width.saturating_sub(2 + NAMES);
    let beside = width >= BESIDE;
    let line = |Explained {
                    name,
                    value,
                    meaning,
                }: Explained| {
        let name = Span::from(format!(
            "  {:<1$}",
            fit(&name, NAMES - 1),
            usize::from(NAMES)
        ))
        .bold();
        if beside {
            let room = room.saturating_sub(MEANINGS);
            let value = format!("{:<1$}", fit(&value, room - 1), usize::from(room));
            let meaning = Span::styled(fit(meaning, MEANINGS), DIM);
            return vec![Line::from(vec![name, value.into(), meaning])];
        }
        let mut lines = vec![Line::from(vec![name, fit(&value, room).into()])];
        for part in wrapped(meaning, room) {
            let indent = " ".repeat(usize::from(2 + NAMES));
            lines.push(Line::from(format!("{indent}{part}")).style(DIM));
        }
        lines
    };
    members.into_iter().flat_map(line).collect()
}
