//! A model with something in it, at a moment that does not pass.

use assistant_cli::{
    api::Service,
    failure::{Failure, Kind},
    records::{Event, Note},
    ui::{Effect, Model, Msg, TokenInUse, update},
};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Saturday, 21 November 2026, 10:00 in Berlin.
pub(crate) const NOW: i64 = 1_795_251_600;

pub(crate) fn now() -> Zoned {
    let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    Timestamp::from_second(NOW).unwrap().to_zoned(berlin)
}

pub(crate) fn note(id: u64, title: &str, description: &str) -> Note {
    Note {
        id,
        title: title.to_owned(),
        description: description.to_owned(),
    }
}

/// An event that starts so many minutes from now and lasts an hour.
pub(crate) fn event(id: u64, title: &str, in_minutes: i64) -> Event {
    let start = (NOW + in_minutes * 60) * 1000;
    Event {
        id,
        title: title.to_owned(),
        description: "Discuss the project".to_owned(),
        start,
        end: start + 3_600_000,
    }
}

/// Before anything is loaded.
pub(crate) fn fresh() -> Model {
    Model::new(now())
}

/// Two notes, two events, and the token that fetched the events.
pub(crate) fn loaded() -> Model {
    let mut model = fresh();
    press(&mut model, KeyCode::Char('r'));
    let notes = vec![
        note(1, "Meeting with A", "Discuss the project"),
        note(
            2,
            "買い物リスト",
            "牛乳、卵、パン – and a line that is longer than its card, so it goes on",
        ),
    ];
    let events = vec![event(7, "Dentist", 26 * 60), event(3, "Meeting with A", 0)];
    update(&mut model, Msg::Notes(Ok(notes)));
    update(&mut model, Msg::Events(Ok(events)));
    update(&mut model, Msg::Token(token()));
    model
}

pub(crate) fn token() -> TokenInUse {
    TokenInUse {
        resource: "calendar-service".to_owned(),
        scopes: "calendar.read".to_owned(),
        fetched_at: u64::try_from(NOW).unwrap() - 10,
        expires_at: u64::try_from(NOW).unwrap() + 3590,
        view: None,
    }
}

pub(crate) fn unreachable(service: Service) -> Failure {
    let name = service.name();
    Failure::new(
        Kind::Unreachable,
        format!("cannot reach {name} at http://localhost:3011"),
    )
    .hint(format!(
        "is {name} running? start it with `cargo run -p {name}`"
    ))
}

pub(crate) fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

pub(crate) fn type_in(model: &mut Model, text: &str) {
    for c in text.chars() {
        let effects = press(model, KeyCode::Char(c));
        assert_eq!(effects, [], "typing {c:?} does nothing else");
    }
}
