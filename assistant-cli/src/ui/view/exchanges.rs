//! The tab "Trace": what went over the wire, one line each; the one under the cursor can be opened.

use ratatui::{
    Frame,
    layout::{Margin, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::{ACCENT, BAD, DIM, GOOD, Targets, fit, wrapped};
use crate::{
    exchange::{Exchange, Message},
    ui::{keys::Action, model::Model, seen::Seen},
};

/// Lines of a body that are shown.
const BODY: usize = 8;

pub(super) fn draw(model: &Model, frame: &mut Frame, area: Rect, targets: &mut Targets) {
    let seen = &model.seen;
    if seen.exchanges.is_empty() {
        let text = "Nothing has gone over the wire yet. r gets tokens and loads; each request of the \
                    assistant, of its library and of the lab then stands here.";
        let text = Paragraph::new(text).style(DIM).wrap(Wrap { trim: true });
        frame.render_widget(text, area.inner(Margin::new(1, 1)));
        return;
    }
    let inside = seen
        .exchanges
        .get(seen.at)
        .filter(|_| seen.is_open)
        .map(|exchange| opened(exchange, area.width))
        .unwrap_or_default();
    let height = usize::from(area.height);
    // The one under the cursor is in the picture, with as much of its inside as fits.
    let wanted = (inside.len() + 1).min(height);
    let first = (seen.at + wanted).saturating_sub(height).min(seen.at);
    let mut y = area.y;
    for (place, exchange) in seen.exchanges.iter().enumerate().skip(first) {
        if y >= area.bottom() {
            break;
        }
        let row = Rect {
            y,
            height: 1,
            ..area
        };
        let on = place == seen.at;
        frame.render_widget(row_line(seen, place, exchange, row.width), row);
        // The first click moves the cursor, the second opens.
        let click = if on {
            Action::Expand
        } else {
            Action::Row(place)
        };
        targets.add(row, click);
        y += 1;
        if on {
            for line in &inside {
                if y >= area.bottom() {
                    break;
                }
                frame.render_widget(
                    line,
                    Rect {
                        y,
                        height: 1,
                        ..area
                    },
                );
                y += 1;
            }
        }
    }
}

/// `12 assistant → note-service  GET /note  ✓ 200  5 ms`
fn row_line(seen: &Seen, place: usize, exchange: &Exchange, width: u16) -> Line<'static> {
    let on = place == seen.at;
    let mark = match (on, seen.is_open) {
        (true, true) => "▼",
        (true, false) => "▶",
        (false, _) => " ",
    };
    let number = seen.forgotten + place + 1;
    let good = exchange.status.is_some_and(|status| status < 400);
    let (sign, colour) = if good { ("✓", GOOD) } else { ("✗", BAD) };
    let outcome = format!(" {sign} {:<9}", exchange.outcome());
    let took = format!("{:>5} ms ", exchange.took_ms);
    let room = width.saturating_sub(5 + 12 + 9);
    let who = format!("{} → {}", short(&exchange.from), short(&exchange.to));
    let whole = format!("{number:>3} {:<27} {}", who, exchange.what());
    let text = fit(&whole, room);
    let gap = usize::from(room).saturating_sub(Span::raw(text.as_str()).width());
    let style = if on {
        Style::new().bold()
    } else {
        Style::new()
    };
    Line::from(vec![
        mark.into(),
        text.into(),
        " ".repeat(gap).into(),
        Span::styled(outcome, colour),
        Span::styled(took, DIM),
    ])
    .style(style)
}

/// The names of the demo's programs are long; what they are is clear without their endings.
fn short(name: &str) -> &str {
    match name {
        "auth-provider" => "provider",
        "calendar-service" => "calendar",
        "note-service" => "notes",
        "resource-server" => "files",
        "verifier in this process" => "verifier",
        other => other,
    }
}

fn opened(exchange: &Exchange, width: u16) -> Vec<Line<'static>> {
    let mut lines =
        vec![Line::from(format!("     {} {}", exchange.method, exchange.url)).style(ACCENT)];
    lines.extend(message("→", &exchange.request, width));
    lines.extend(message("←", &exchange.response, width));
    let unseen = exchange.request.body.is_none() && exchange.response.body.is_none();
    if unseen {
        let why = "     The library told of this one: it tells no bodies.";
        lines.push(Line::from(why).style(DIM));
    }
    lines
}

fn message(arrow: &str, message: &Message, width: u16) -> Vec<Line<'static>> {
    let headers = message.headers.iter().map(String::as_str);
    let lead = format!("     {arrow} ");
    let room = width.saturating_sub(8);
    let body = message.body.iter().flat_map(|body| body.lines());
    let body: Vec<String> = body.flat_map(|line| wrapped(line, room)).collect();
    let rest = body.len().saturating_sub(BODY);
    let mut lines: Vec<Line> = headers
        .flat_map(|header| wrapped(header, room))
        .map(|line| Line::from(format!("{lead}{line}")).style(DIM))
        .collect();
    for line in body.into_iter().take(BODY) {
        lines.push(Line::from(format!("{lead}{line}")));
    }
    if rest > 0 {
        lines.push(Line::from(format!("{lead}… {rest} more lines")).style(DIM));
    }
    lines
}
